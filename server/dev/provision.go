package dev

import (
	"context"
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/sangate/sangate/pki/devca"
	"github.com/sangate/sangate/pki/regularfile"
	"github.com/sangate/sangate/pki/stepca"
	"github.com/sangate/sangate/pki/stepca/atomicfile"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/store"
)

// TrustDomain is that of the folder's SPIFFE IDs.
const TrustDomain = "dev.internal"

//go:embed sangate.yaml.tmpl
var configTemplate string

// A provisioner fills the folder.
type provisioner struct {
	opts   *Options
	ca     *devca.CA
	client *stepca.Client
}

// A holder is somebody with a certificate.
type holder struct {
	name  string
	sans  []string
	files stepca.Files
}

func (p *provisioner) holders() []holder {
	host, _, _ := net.SplitHostPort(p.opts.Listen) // was listened on, or will be
	sans := []string{"localhost", "127.0.0.1", "::1"}
	if ip := net.ParseIP(host); host != "" && !slices.Contains(sans, host) && (ip == nil || !ip.IsUnspecified()) {
		sans = append(sans, host)
	}
	out := []holder{{"server", sans, p.files("server")}}
	for _, t := range Tenants {
		out = append(out, holder{t, []string{SPIFFEID(t)}, p.files("clients", t)})
	}
	return out
}

// SPIFFEID is the name in a tenant's client certificate.
func SPIFFEID(tenant string) string {
	return "spiffe://" + TrustDomain + "/tenant/" + tenant + "/agent"
}

func (p *provisioner) files(names ...string) stepca.Files {
	base := p.opts.path(names...)
	return stepca.Files{Cert: base + ".crt", Key: base + ".key"}
}

// provision makes what is missing or of no more use.
func (p *provisioner) provision(ctx context.Context) error {
	var err error
	if p.client, err = stepca.New(p.ca.URL(), stepca.Options{Roots: []*x509.Certificate{p.ca.Root()}}); err != nil {
		return err
	}
	if err := atomicfile.Write(p.opts.path("root_ca.crt"), p.ca.RootPEM(), 0o644); err != nil {
		return err
	}
	for _, h := range p.holders() {
		if p.usable(h) {
			continue
		}
		pair, err := p.enrol(ctx, h)
		if err != nil {
			return fmt.Errorf("enrolling %s: %w", h.name, err)
		}
		if err := h.files.Save(pair); err != nil {
			return err
		}
	}
	if err := p.tokens(ctx); err != nil {
		return err
	}
	return p.config()
}

func (p *provisioner) enrol(ctx context.Context, h holder) (*stepca.Pair, error) {
	token, err := p.ca.Token(h.name, h.sans...)
	if err != nil {
		return nil, err
	}
	return p.client.Enrol(ctx, token, stepca.Request{Subject: h.name, SANs: h.sans})
}

// usable reports whether the certificate on disk is of this CA, has the right
// names and is good for a while; the renewer takes it from there.
func (p *provisioner) usable(h holder) bool {
	pair, err := h.files.Load()
	if err != nil {
		return false
	}
	leaf := pair.Leaf()
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(p.ca.Root())
	for _, c := range pair.Chain()[1:] {
		intermediates.AddCert(c)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	left, life := time.Until(leaf.NotAfter), leaf.NotAfter.Sub(leaf.NotBefore)
	if err != nil || left < life/10 {
		return false
	}
	for _, want := range h.sans {
		if leaf.VerifyHostname(want) != nil && !slices.ContainsFunc(leaf.URIs, func(u *url.URL) bool { return u.String() == want }) {
			return false
		}
	}
	return true
}

// tokens makes sure that each tenant's token file holds a key that the store
// knows as that tenant's.
func (p *provisioner) tokens(ctx context.Context) (err error) {
	db, err := store.Open(ctx, p.opts.path("state"), store.Options{Logger: p.opts.Logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	records, err := db.Keys(ctx)
	if err != nil {
		return err
	}
	var entries []apikey.Entry
	for _, r := range records {
		entries = append(entries, r.Entry)
	}
	ring, err := apikey.NewRing(entries)
	if err != nil {
		return err
	}
	for _, t := range Tenants {
		file := p.opts.path("clients", t+".token")
		old, err := regularfile.Read(file, 64<<10)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if e, v := ring.Lookup(strings.TrimSpace(string(old)), time.Now()); v == apikey.OK && e.Tenant == t {
			continue
		}
		key, id, err := apikey.Mint()
		if err != nil {
			return err
		}
		entry := apikey.Entry{ID: id, Tenant: t, Digest: apikey.Digest(key)}
		if err := db.AddKey(ctx, entry, "made by sangate dev"); err != nil {
			return err
		}
		if err := atomicfile.Write(file, []byte(key+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// config writes the configuration where there is none; one that was changed is
// the user's.
func (p *provisioner) config() error {
	file := p.opts.path("sangate.yaml")
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t, err := template.New(filepath.Base(file)).Parse(configTemplate)
	if err != nil {
		return err
	}
	var out strings.Builder
	err = t.Execute(&out, map[string]any{"Listen": p.opts.Listen, "Admin": p.opts.Admin, "Tenants": Tenants, "TrustDomain": TrustDomain})
	if err != nil {
		return err
	}
	return atomicfile.Write(file, []byte(out.String()), 0o644)
}
