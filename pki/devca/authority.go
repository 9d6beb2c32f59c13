package devca

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/smallstep/certificates/acme"
	acmeapi "github.com/smallstep/certificates/acme/api"
	acmedb "github.com/smallstep/certificates/acme/db/nosql"
	"github.com/smallstep/certificates/api"
	"github.com/smallstep/certificates/api/log"
	"github.com/smallstep/certificates/authority"
	"github.com/smallstep/certificates/authority/config"
	"github.com/smallstep/certificates/authority/provisioner"
	"github.com/smallstep/certificates/db"
	"github.com/smallstep/nosql"
)

// newAuthority opens the database and builds the authority on it. Its Shutdown
// closes the database.
func (ca *CA) newAuthority() (*authority.Authority, error) {
	store, err := db.New(&db.Config{Type: "bbolt", DataSource: filepath.Join(ca.dir, databaseFile)})
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	auth, err := authority.NewEmbedded(
		authority.WithConfig(ca.config()),
		authority.WithX509RootCerts(ca.pki.root),
		authority.WithX509Signer(ca.pki.intermediate, ca.pki.signer),
		authority.WithDatabase(store),
		authority.WithQuietInit(),
	)
	if err != nil {
		store.Shutdown()
		return nil, err
	}
	// A provisioner that is no good is logged by the library and kept, useless.
	for _, name := range []string{provisionerName, acmeName} {
		p, err := auth.LoadProvisionerByName(name)
		if u, bad := p.(provisioner.Uninitialized); bad {
			err = u.Reason
		}
		if err != nil {
			auth.Shutdown()
			return nil, fmt.Errorf("provisioner %s: %w", name, err)
		}
	}
	return auth, nil
}

func (ca *CA) config() *config.Config {
	o := ca.opts
	public := ca.pki.provisioner.Public()
	claims := &provisioner.Claims{
		MinTLSDur:               &provisioner.Duration{Duration: o.Min},
		MaxTLSDur:               &provisioner.Duration{Duration: o.Max},
		DefaultTLSDur:           &provisioner.Duration{Duration: o.Default},
		AllowRenewalAfterExpiry: &o.AllowRenewalAfterExpiry,
	}
	cfg := &config.Config{
		DNSNames:   o.Names,
		CommonName: "sangate dev CA",
		AuthorityConfig: &config.AuthConfig{
			// One-time tokens are kept in the database, so one made before
			// this start is as good as a later one.
			DisableIssuedAtCheck: true,
			Provisioners: provisioner.List{
				&provisioner.JWK{Type: "JWK", Name: provisionerName, Key: &public, Claims: claims},
				&provisioner.ACME{Type: "ACME", Name: acmeName, Claims: claims},
			},
		},
	}
	if !o.NoCRL {
		// Left alone, the CRL's critical IDP extension lacks the port.
		cfg.CRL = &config.CRLConfig{Enabled: true, GenerateOnRevoke: true, IDPurl: ca.CRLURL()}
	}
	return cfg
}

// CRLURL returns where the CRL is, in DER, and what its IDP extension says.
func (ca *CA) CRLURL() string { return ca.url.JoinPath("1.0/crl").String() }

// handler mounts the API where step-ca has it, and returns the context that
// its handlers find the authority in.
func (ca *CA) handler(ctx context.Context, auth *authority.Authority) (http.Handler, context.Context, error) {
	store, ok := auth.GetDatabase().(nosql.DB)
	if !ok {
		return nil, nil, fmt.Errorf("a %T is no database for ACME", auth.GetDatabase())
	}
	acmeDB, err := acmedb.New(store)
	if err != nil {
		return nil, nil, fmt.Errorf("database for ACME: %w", err)
	}
	ctx = authority.NewContext(ctx, auth)
	ctx = db.NewContext(ctx, auth.GetDatabase())
	ctx = acme.NewContext(ctx, acmeDB, acme.NewClient(), acme.NewLinker(ca.url.Host, "acme"), nil)
	ctx = log.WithErrorLogger(ctx, func(_ http.ResponseWriter, r *http.Request, err error) {
		ca.opts.Logger.InfoContext(r.Context(), "ca refused a request", "method", r.Method, "path", r.URL.Path, "err", err)
	})
	mux := chi.NewRouter()
	mux.Use(middleware.GetHead)
	api.Route(mux)
	mux.Route("/1.0", func(r chi.Router) { api.Route(r) })
	mux.Route("/acme", func(r chi.Router) { acmeapi.Route(r) })
	mux.Route("/2.0/acme", func(r chi.Router) { acmeapi.Route(r) })
	return http.MaxBytesHandler(mux, 1<<20), ctx, nil
}
