// Package document keeps the tools of the configured OpenAPI documents current, beside
// everything else that the server does.
//
// A document that cannot be imported changes nothing but its own tools: those of its
// last good copy are kept, or else it has none, and its [State] says why. Imports run
// one at a time, each within a time limit.
package document

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/egress"
	"github.com/sangate/sangate/server/httptool"
	"github.com/sangate/sangate/server/openapi"
)

// Limits of time.
const (
	importLimit = 30 * time.Second // for one import, with the wait for another
	fetchLimit  = 15 * time.Second
	retryAfter  = time.Minute // until a document that could not be fetched is fetched again
)

// Options of a Library; all must be set.
type Options struct {
	Logger *slog.Logger
	Now    func() time.Time
	// Changed is called by Run after the tools of a document have changed.
	Changed func()
}

// A Source is what a configuration says of documents, and what they are read with.
type Source struct {
	Documents []config.OpenAPI
	State     string // folder of the copies of documents that were fetched
	Guard     *egress.Guard
	Hide      func(error) error   // removes secrets
	Show      func(string) string // the same for the path or URL of a document
}

// An importer is [openapi.Import].
type importer func(context.Context, *slog.Logger, []byte, openapi.Options) ([]*httptool.Program, []openapi.Skipped, error)

// A Library holds the documents of the configuration in force. Safe for concurrent use.
type Library struct {
	opts     Options
	importer importer
	slot     chan struct{} // taken by the one import that runs
	wake     chan struct{}

	mu      sync.Mutex
	current []*document
}

// New returns a library without documents.
func New(opts Options) *Library {
	return &Library{opts: opts, importer: openapi.Import, slot: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
}

// A Plan is a set of documents that is ready to be put in force.
type Plan struct {
	library *Library
	source  Source
	next    []*document
	added   []*document // those of next that are not in force in this form
}

// Prepare plans to have the documents of src. Those that it has as before go on.
func (l *Library) Prepare(src Source) *Plan {
	p := &Plan{library: l, source: src}
	current := l.documents()
	for i := range src.Documents {
		conf := src.Documents[i]
		same := func(d *document) bool { return reflect.DeepEqual(d.conf, conf) }
		if n := slices.IndexFunc(current, same); n >= 0 {
			p.next = append(p.next, current[n])
			continue
		}
		d := &document{library: l, conf: conf, due: true, source: src}
		if n := slices.IndexFunc(current, d.copyOf); n >= 0 {
			d.text = current[n].lastGood()
		}
		p.next, p.added = append(p.next, d), append(p.added, d)
	}
	return p
}

// Import imports the documents that are new or have other options. What is not done
// when ctx ends is left to Run.
func (p *Plan) Import(ctx context.Context) {
	for _, d := range p.added {
		if ctx.Err() != nil {
			return
		}
		d.update(ctx)
	}
}

// Results returns what the documents of the plan were imported to, in the order of the
// configuration.
func (p *Plan) Results() []*Result { return results(p.next) }

// Commit puts the plan in force. Run then reads all documents again.
func (p *Plan) Commit() {
	for _, d := range p.next {
		d.use(p.source, !slices.Contains(p.added, d))
	}
	p.library.mu.Lock()
	p.library.current = p.next
	p.library.mu.Unlock()
	p.library.notify()
}

// Wake has Run read all documents again.
func (l *Library) Wake() {
	for _, d := range l.documents() {
		d.demand()
	}
	l.notify()
}

func (l *Library) notify() {
	select {
	case l.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Run imports documents that are due until ctx ends. It does not wait for an import
// that runs then: that ends within the bounds on a document.
func (l *Library) Run(ctx context.Context) {
	for {
		var retry <-chan time.Time
		if wait, ok := l.pass(ctx); ok {
			retry = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		case <-retry:
		}
	}
}

// pass imports what is due, and returns after what time something will be.
func (l *Library) pass(ctx context.Context) (wait time.Duration, ok bool) {
	for _, d := range l.documents() {
		if ctx.Err() != nil {
			return 0, false
		}
		if d.isDue(l.opts.Now()) && d.update(ctx) {
			l.opts.Changed()
		}
		if at := d.retryAt(); !at.IsZero() {
			if left := max(time.Second, at.Sub(l.opts.Now())); !ok || left < wait {
				wait, ok = left, true
			}
		}
	}
	return wait, ok
}

// Results returns what the documents in force were imported to, in the order of the
// configuration.
func (l *Library) Results() []*Result { return results(l.documents()) }

// Paths returns the files that documents are read from.
func (l *Library) Paths() []string {
	var paths []string
	for _, d := range l.documents() {
		if !d.conf.Remote() {
			paths = append(paths, string(d.conf.Document))
		}
	}
	return paths
}

func (l *Library) documents() []*document {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

func results(documents []*document) []*Result {
	out := make([]*Result, len(documents))
	for i, d := range documents {
		out[i] = d.result()
	}
	return out
}
