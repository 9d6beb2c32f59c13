// Package backend is what stands behind the gate: the secrets, the declared tools
// and the upstreams of the configuration in force.
//
// A [Backend] is put in force as a whole, by [Plan.Commit], after all that can be
// wrong with it was found; what goes wrong later is an upstream's affair and
// changes nothing but its tools.
package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sangate/sangate/pki/regularfile"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/document"
	"github.com/sangate/sangate/server/egress"
	"github.com/sangate/sangate/server/httptool"
	"github.com/sangate/sangate/server/store"
	"github.com/sangate/sangate/server/tool"
	"github.com/sangate/sangate/server/upstream"
)

// exchangeTimeout bounds one exchange with a token endpoint or a Credentials API.
const exchangeTimeout = 10 * time.Second

// Options of a Backend; all must be set, unless they say otherwise.
type Options struct {
	Store   *store.Store
	Floor   func(name string) int64 // see credential.Vault.Guard; may be nil
	Logger  *slog.Logger
	Now     func() time.Time
	Version string
	// Certificate is the gate's own, for those that are to see it.
	Certificate func() (*tls.Certificate, error)
	// Changed is called when upstreams offer something else.
	Changed func()
	// OnResolve hears how each look-up of a secret went, OnCycle how each look at an
	// upstream, OnExchange how long each exchange with one took.
	OnResolve  func(err error)
	OnCycle    func(server string, err error)
	OnExchange func(ctx context.Context, server string, took time.Duration)
}

// A Backend holds what is in force. Safe for concurrent use.
type Backend struct {
	opts    Options
	pool    upstream.Pool
	library *document.Library
	cur     atomic.Pointer[Plan]

	mu      sync.Mutex        // of remake
	held    map[string]string // which document has each name; under mu
	offered atomic.Pointer[documents]
}

// New makes one with nothing behind it.
func New(opts Options) *Backend {
	b := &Backend{opts: opts}
	b.library = document.New(document.Options{Logger: opts.Logger, Now: opts.Now, Changed: func() {
		b.remake()
		opts.Changed()
	}})
	none := &Plan{backend: b, conf: &config.Config{}}
	none.offers = newOffers(none)
	b.cur.Store(none)
	b.offered.Store(new(documents))
	return b
}

// A Plan is a backend that is ready to be put in force.
type Plan struct {
	backend    *Backend
	conf       *config.Config
	vault      *credential.Vault // nil: no store of credentials
	resolver   credential.Resolver
	authorizer *credential.Authorizer
	guard      *egress.Guard
	made       any
	declared   []*tool.Tool
	documents  *document.Plan
	offers     *offers
	tokens     *http.Client   // for token endpoints
	clients    []*http.Client // all there are

	toolOptions httptool.Options
}

// client makes one that is done with when the plan is.
func (p *Plan) client(t egress.Target) *http.Client {
	c := p.guard.Client(t)
	p.clients = append(p.clients, c)
	return c
}

func (p *Plan) close() {
	for _, c := range p.clients {
		c.CloseIdleConnections()
	}
}

// Prepare makes what c asks for. Only OpenAPI documents that are new, or have other
// options, are fetched and imported, until wait is over: Run goes on with the rest.
func (b *Backend) Prepare(ctx context.Context, c *config.Config, wait time.Duration) (*Plan, error) {
	p := &Plan{backend: b, conf: c, guard: c.Egress.Guard(), made: [...]any{c.Egress, c.Credentials}}
	if old := b.cur.Load(); old.authorizer != nil && reflect.DeepEqual(old.conf.Egress, c.Egress) {
		p.authorizer, p.tokens = old.authorizer, old.tokens // with the access tokens there are
	} else {
		p.tokens = p.guard.Client(egress.Target{Timeout: exchangeTimeout})
		p.authorizer = credential.NewAuthorizer(p.tokens, b.opts.Now)
	}
	p.clients = append(p.clients, p.tokens)
	p.resolver = &counted{b.chain(c.Credentials, p), b.opts.OnResolve}
	return p, p.declare(ctx, wait)
}

// chain asks the store, the folder, the remote service, those there are.
func (b *Backend) chain(c *config.Credentials, p *Plan) credential.Chain {
	var chain credential.Chain
	if c == nil {
		return nil
	}
	if c.KEK != "" {
		p.vault = credential.New(b.opts.Store, c.KEK, b.opts.Logger)
		p.vault.Guard(b.opts.Floor)
		chain = append(chain, p.vault)
	}
	if c.Files != "" {
		chain = append(chain, credential.Files{Dir: string(c.Files)})
	}
	if r := c.Remote; r != nil {
		target := egress.Target{Timeout: exchangeTimeout, Certificate: upstream.Certificate(r.ClientCertificate, b.opts.Certificate)}
		if r.CA != "" {
			target.Roots, _ = egress.Roots([]byte(r.CA)) // was checked
		}
		remote := &credential.Remote{URL: r.URL, Client: p.client(target), Hold: r.Hold, Now: b.opts.Now}
		if r.TokenFile != "" {
			remote.Token = func() (string, error) {
				data, err := regularfile.Read(string(r.TokenFile), maxToken)
				return strings.TrimSpace(string(data)), err
			}
		}
		chain = append(chain, remote)
	}
	return chain
}

const maxToken = 64 << 10 // bytes of a token file

// Declared returns the tools that the configuration declares.
func (p *Plan) Declared() []*tool.Tool { return p.declared }

// Commit puts the plan in force. Upstreams that it names as they were go on.
func (p *Plan) Commit() {
	b := p.backend
	p.documents.Commit()
	b.cur.Swap(p).close()
	b.remake()
	b.pool.Use(p.conf.MCPServers, p.made, upstream.Options{Logger: b.opts.Logger, Guard: p.guard, Resolver: p.resolver, Authorizer: p.authorizer,
		Certificate: b.opts.Certificate, Changed: b.opts.Changed, OnCycle: b.opts.OnCycle, OnExchange: b.opts.OnExchange, Version: b.opts.Version})
}

// Check brings credentials of an older version to the form of today, and logs what
// keeps them from being read: everything else goes on.
func (b *Backend) Check(ctx context.Context) {
	if v := b.Vault(); v != nil {
		err := v.Upgrade(ctx)
		if err == nil {
			err = v.Check(ctx)
		}
		if err != nil {
			b.opts.Logger.Error("the credential store cannot be opened; tools that need a secret from it do not work", "err", err)
		}
	}
}

// Run keeps the upstreams current until ctx ends.
func (b *Backend) Run(ctx context.Context) {
	defer func() { b.cur.Load().close() }()
	b.pool.Run(ctx)
}

// Declared returns the tools that the configuration in force declares.
func (b *Backend) Declared() []*tool.Tool { return b.cur.Load().declared }

// Offers returns what OpenAPI documents and upstreams have.
func (b *Backend) Offers() []*tool.Offer {
	return slices.Concat(b.offered.Load().offers, b.pool.Offers())
}

// Sources returns the sources of offers, whether there is one yet or not.
func (b *Backend) Sources() []string {
	sources := b.pool.Sources()
	for _, d := range b.offered.Load().states {
		sources = append(sources, DocumentSource(d.Name))
	}
	return sources
}

// Upstreams tells how each is.
func (b *Backend) Upstreams() []upstream.State { return b.pool.States() }

// Vault returns the credential store, or nil.
func (b *Backend) Vault() *credential.Vault { return b.cur.Load().vault }

// Refresh has upstreams look again that refer to the credential; 0: all.
func (b *Backend) Refresh(credentialID int64) {
	if c, ok := b.cur.Load().resolver.(*counted); ok && credentialID != 0 {
		c.Forget(credentialID)
	}
	b.pool.Wake(credentialID)
}

// Uses tells who refers to a credential.
func (b *Backend) Uses(info credential.Info) []string { return b.cur.Load().conf.Uses(info) }

// counted is a resolver whose look-ups are counted.
type counted struct {
	chain credential.Chain
	on    func(error)
}

func (c *counted) Resolve(ctx context.Context, ref credential.Ref) (*credential.Secret, error) {
	s, err := c.chain.Resolve(ctx, ref)
	if !errors.Is(err, context.Canceled) {
		c.on(err)
	}
	return s, err
}

// Forget passes on that what was said of a secret turned out wrong.
func (c *counted) Forget(id int64) {
	for _, r := range c.chain {
		if f, ok := r.(interface{ Forget(int64) }); ok {
			f.Forget(id)
		}
	}
}
