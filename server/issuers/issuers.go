// Package issuers keeps the key sets of the configured token issuers: those that
// a new configuration names again go on as they are, new ones are fetched, the
// rest is let go.
//
// A [Book] has one list of issuers in force. It makes the verifier for it; what
// it calls, when keys have changed, is to put a new one in force.
package issuers

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/egress"
	"github.com/sangate/sangate/server/jwt"
	"github.com/sangate/sangate/server/keyset"
)

// fetchTimeout bounds one exchange with an issuer.
const fetchTimeout = 10 * time.Second

// Options of a Book.
type Options struct {
	Logger *slog.Logger
	Now    func() time.Time
	// Changed is called when issuers in force have other keys.
	Changed func()
	// OnRefresh hears of every look at the keys of an issuer, by its name.
	OnRefresh func(issuer string, err error)
}

// A Book holds the key sets. Safe for concurrent use.
type Book struct {
	opts Options

	mu      sync.Mutex
	current []*entry
	ctx     context.Context // of Run; nil before
	wg      sync.WaitGroup
}

// An entry is a key set and what it was made of.
type entry struct {
	made   string
	name   string
	set    *keyset.Set
	issuer *jwt.Issuer // as configured last
	stop   context.CancelFunc
}

// New makes an empty book.
func New(opts Options) *Book { return &Book{opts: opts} }

// A Plan is a list of issuers that is ready to be put in force.
type Plan struct {
	book    *Book
	entries []*entry
}

// Prepare makes what c asks for. A file of keys must be good. Nothing is fetched
// yet.
func (b *Book) Prepare(c *config.Config) (*Plan, error) {
	p := &Plan{book: b}
	guard := c.Egress.Guard()
	old := b.list()
	for i := range c.Issuers {
		in := &c.Issuers[i]
		made := fmt.Sprintf("%q %q %q %q %q %s %v", in.Name, in.Issuer, in.JWKSURL, string(in.JWKSFile), in.CA, in.Refresh, c.Egress)
		e := &entry{made: made, name: in.Name}
		if n := slices.IndexFunc(old, func(o *entry) bool { return o.made == made }); n >= 0 {
			e.set = old[n].set
		} else {
			var err error
			if e.set, err = b.newSet(in, guard); err != nil {
				return nil, fmt.Errorf("issuer %s: %w", in.Name, err)
			}
		}
		e.issuer = in.JWT(e.set)
		p.entries = append(p.entries, e)
	}
	return p, nil
}

func (b *Book) newSet(in *config.Issuer, guard *egress.Guard) (*keyset.Set, error) {
	var roots *x509.CertPool // the system's
	if in.CA != "" {
		var err error
		if roots, err = egress.Roots([]byte(in.CA)); err != nil {
			return nil, err
		}
	}
	var set *keyset.Set
	set, err := keyset.New(keyset.Options{Issuer: in.Issuer, URL: in.JWKSURL, File: string(in.JWKSFile),
		Client: guard.Client(egress.Target{Roots: roots, Timeout: fetchTimeout}), Every: in.Refresh, Now: b.opts.Now, Logger: b.opts.Logger,
		OnChange:  func() { b.changed(set) },
		OnRefresh: func(err error) { b.opts.OnRefresh(in.Name, err) }})
	if err != nil {
		return nil, err
	}
	return set, set.Reload()
}

// changed tells of other keys, where the set is in force.
func (b *Book) changed(set *keyset.Set) {
	if slices.ContainsFunc(b.list(), func(e *entry) bool { return e.set == set }) {
		b.opts.Changed()
	}
}

// Commit puts the plan in force and returns the verifier for it. Sets that are
// no longer asked for end behind.
func (p *Plan) Commit() *jwt.Verifier {
	b := p.book
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range p.entries {
		if n := slices.IndexFunc(b.current, func(o *entry) bool { return o.set == e.set }); n >= 0 {
			e.stop = b.current[n].stop
		}
	}
	for _, o := range b.current {
		if o.stop != nil && !slices.ContainsFunc(p.entries, func(e *entry) bool { return e.set == o.set }) {
			o.stop()
		}
	}
	b.current = p.entries
	b.start()
	return b.verifier()
}

// start runs the sets that do not run yet, once Run is there. Callers hold mu.
func (b *Book) start() {
	if b.ctx == nil || b.ctx.Err() != nil {
		return
	}
	for _, e := range b.current {
		if e.stop == nil {
			var ctx context.Context
			ctx, e.stop = context.WithCancel(b.ctx)
			b.wg.Go(func() { e.set.Run(ctx) })
		}
	}
}

// Run keeps the sets current until ctx ends.
func (b *Book) Run(ctx context.Context) {
	b.mu.Lock()
	b.ctx = ctx
	b.start()
	b.mu.Unlock()
	<-ctx.Done()
	b.mu.Lock() // a Commit that is at it sees that ctx has ended
	for _, e := range b.current {
		if e.stop != nil {
			e.stop()
		}
	}
	b.mu.Unlock()
	b.wg.Wait()
}

// Verifier returns one for the issuers in force, by the keys they have now.
func (b *Book) Verifier() *jwt.Verifier {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.verifier()
}

func (b *Book) verifier() *jwt.Verifier {
	list := make([]*jwt.Issuer, len(b.current))
	for i, e := range b.current {
		list[i] = e.issuer
	}
	return jwt.NewVerifier(list)
}

// Refresh has all keys fetched anew; it does not wait.
func (b *Book) Refresh() {
	for _, e := range b.list() {
		e.set.Refresh()
	}
}

// Seen returns when the keys of each issuer were last seen, by its name; zero: never.
func (b *Book) Seen() iter.Seq2[string, time.Time] {
	return func(yield func(string, time.Time) bool) {
		for _, e := range b.list() {
			if !yield(e.name, e.set.Seen()) {
				return
			}
		}
	}
}

// Paths returns the files of keys, to watch.
func (b *Book) Paths() []string {
	var out []string
	for _, e := range b.list() {
		if file := e.set.File(); file != "" {
			out = append(out, file)
		}
	}
	return out
}

// ReadFiles reads the files of keys again. What does not load stays as it is.
func (b *Book) ReadFiles() error {
	var errs []error
	for _, e := range b.list() {
		if err := e.set.Reload(); err != nil {
			b.opts.Logger.Error("keys not reloaded, those in force stay", "issuer", e.name, "err", err)
			errs = append(errs, fmt.Errorf("issuer %s: %w", e.name, err))
		}
	}
	return errors.Join(errs...)
}

func (b *Book) list() []*entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.current)
}

// Servers returns the issuers' URLs, as a client can ask them for tokens; one
// that stands for several organizations is those that are mapped.
func Servers(v *jwt.Verifier) []string {
	var out []string
	for _, i := range v.Issuers() {
		if !strings.Contains(i.URL, "{tenantid}") {
			out = append(out, i.URL)
			continue
		}
		for _, m := range i.Mappings {
			out = append(out, strings.ReplaceAll(i.URL, "{tenantid}", m.Claims["tid"]))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Audiences returns what tokens may be for, one of which a client asks for.
func Audiences(v *jwt.Verifier) []string {
	var out []string
	for _, i := range v.Issuers() {
		out = append(out, i.Audiences...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
