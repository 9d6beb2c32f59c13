package document

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/contain"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/httptool"
	"github.com/sangate/sangate/server/openapi"
)

// A Result is what a document was imported to. Not to be changed.
type Result struct {
	Name, Where string // Where is its file or URL, without a query
	Problem     string // why the last attempt failed; "": it did not
	Tools       []*httptool.Program
	Skipped     []openapi.Skipped
}

// A document is one entry of the configuration.
type document struct {
	library *Library
	conf    config.OpenAPI // with its options: other ones make another document

	mu      sync.Mutex
	source  Source
	due     bool
	retry   time.Time // when to try again what failed for now; zero: when it is due
	text    []byte    // last good one of a file
	good    digest    // of the text that Tools were made of
	bad     digest    // of a text that cannot be imported
	badWhy  error
	current Result
}

type digest [sha256.Size]byte

// copyOf reports whether other is the same document under other options.
func (d *document) copyOf(other *document) bool {
	return other.conf.Name == d.conf.Name && other.conf.Document == d.conf.Document
}

func (d *document) lastGood() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text
}

func (d *document) result() *Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.current
	r.Name, r.Where = d.conf.Name, d.where()
	return &r
}

// where names the document to an operator. Callers hold mu.
func (d *document) where() string { return d.source.Show(shown(string(d.conf.Document))) }

func (d *document) use(src Source, again bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.source, d.due = src, d.due || again
}

func (d *document) demand() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.due = true
}

func (d *document) isDue(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.due || !d.retry.IsZero() && !now.Before(d.retry)
}

func (d *document) retryAt() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.retry
}

// update reads the document, imports it if its text is another, and reports whether
// its tools have changed. One at a time.
func (d *document) update(ctx context.Context) (changed bool) {
	d.mu.Lock()
	src := d.source
	d.due = false
	d.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, importLimit)
	defer cancel()
	text, err := d.read(limited, src)
	if err == nil {
		changed, err = d.take(limited, text, src)
	}
	if ctx.Err() != nil { // Run goes on with it, or ends
		d.demand()
		return changed
	}
	if err != nil && d.empty() {
		changed = d.fallBack(limited, src)
	}
	d.note(src.Hide(err))
	return changed
}

// take imports a text.
func (d *document) take(ctx context.Context, text []byte, src Source) (changed bool, err error) {
	sum := digest(sha256.Sum256(text))
	d.mu.Lock()
	good, bad, why := d.good, d.bad, d.badWhy
	d.mu.Unlock()
	switch sum {
	case good:
		return false, nil
	case bad:
		return false, why
	}
	tools, skipped, err := d.imported(ctx, text)
	if err != nil {
		if ctx.Err() == nil { // else it may do next time
			d.mu.Lock()
			d.bad, d.badWhy = sum, err
			d.mu.Unlock()
		}
		return false, err
	}
	d.publish(text, tools, skipped)
	if d.conf.Remote() {
		err = keep(src.State, &d.conf, text)
	}
	return true, err
}

func (d *document) publish(text []byte, tools []*httptool.Program, skipped []openapi.Skipped) {
	for _, s := range skipped {
		d.library.opts.Logger.Warn("operation of an OpenAPI document left out",
			"name", d.conf.Name, "operation", s.Operation, "why", s.Why)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.good = sha256.Sum256(text)
	d.current.Tools, d.current.Skipped = tools, skipped
	if !d.conf.Remote() {
		d.text = text
	}
}

// fallBack imports the last good copy of a document that has no tools yet.
func (d *document) fallBack(ctx context.Context, src Source) bool {
	text := d.lastGood()
	if d.conf.Remote() {
		text, _ = kept(src.State, &d.conf) // the problem with the document itself is shown
	}
	if text == nil {
		return false
	}
	tools, skipped, err := d.imported(ctx, text)
	if err != nil {
		return false
	}
	d.publish(text, tools, skipped)
	return true
}

func (d *document) empty() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current.Tools == nil
}

// maxProblem bounds what is told of a failure, in bytes: it may quote the document, or what
// its server sent.
const maxProblem = 1 << 10

// note logs how an attempt ended.
func (d *document) note(err error) {
	problem := ""
	if err != nil {
		problem = pki.Cut(err.Error(), maxProblem)
	}
	d.mu.Lock()
	where := d.where()
	before, tools := d.current.Problem, len(d.current.Tools)
	d.current.Problem, d.retry = problem, time.Time{}
	if err != nil && d.conf.Remote() {
		d.retry = d.library.opts.Now().Add(retryAfter)
	}
	d.mu.Unlock()
	log := d.library.opts.Logger.With("name", d.conf.Name, "document", where)
	switch {
	case problem != "" && problem != before && tools > 0:
		log.Error("OpenAPI document not imported; keeping the tools of its last good copy", "tools", tools, "err", problem)
	case problem != "" && problem != before:
		log.Error("OpenAPI document not imported; its tools are left out", "err", problem)
	case problem == "" && before != "":
		log.Info("OpenAPI document imported", "tools", tools)
	}
}

// imported imports a text, after all imports before. When ctx ends it returns; the
// import holds its place until it has ended.
func (d *document) imported(ctx context.Context, text []byte) ([]*httptool.Program, []openapi.Skipped, error) {
	select {
	case d.library.slot <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, tooSlow(ctx)
	}
	type outcome struct {
		tools   []*httptool.Program
		skipped []openapi.Skipped
		err     error
	}
	done := make(chan outcome, 1)
	log := d.library.opts.Logger
	go func() {
		defer func() { <-d.library.slot }()
		var o outcome
		err := contain.Do(log, "import an OpenAPI document", func() error {
			o.tools, o.skipped, o.err = d.library.importer(ctx, log, text, d.conf.Options())
			return o.err
		})
		o.err = err
		done <- o
	}()
	select {
	case o := <-done:
		if o.err != nil && ctx.Err() != nil {
			o.err = tooSlow(ctx)
		}
		return o.tools, o.skipped, o.err
	case <-ctx.Done():
		return nil, nil, tooSlow(ctx)
	}
}

func tooSlow(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("not imported within %s", importLimit)
	}
	return ctx.Err()
}
