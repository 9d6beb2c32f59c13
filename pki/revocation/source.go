package revocation

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sangate/sangate/pki/contain"
)

// SourceOptions shape a [Source].
type SourceOptions struct {
	// Files and URLs (http, https) of one list each, DER or PEM.
	Files, URLs []string
	// Dir keeps the lists, by issuer and scope, for a start while they are not
	// to be had; made where it is missing. Empty: they are not kept.
	Dir      string
	ReadOnly bool // nothing is written to Dir
	// Before, if not nil, is the source that this one takes the place of: what
	// it holds stays in force, even if it could not be kept.
	Before *Source
	// Issuers returns the CA certificates that lists may be signed by; asked at
	// each load. Lists of intermediates need the intermediates here.
	Issuers func() []*x509.Certificate
	// Anchors returns the CA certificates that clients are verified by. A kept
	// list is used if its issuer leads to one of them; Issuers where nil.
	Anchors func() []*x509.Certificate
	// Admit, if not nil, is called before a list is put in force, with an error
	// if one that was in force is newer. It must not call the Source.
	Admit func(Mark) error
	// Kept, if not nil, is called when a list that was admitted is in force and on
	// disk, so that its mark can be raised. It must not call the Source.
	Kept func(Mark)

	// Every is the longest time between two looks at a list; 1 h where zero.
	Every time.Duration
	// Timeout bounds one transfer; 30 s where zero.
	Timeout time.Duration
	// Transport makes the requests, with the roots and the egress rules of the
	// caller. No proxy, and the system's roots, where nil. A transport that
	// inflates answers is not bounded by MaxCRLBytes on the wire.
	Transport http.RoundTripper
	Now       func() time.Time // time.Now where nil

	Logger *slog.Logger // nil: silent
	// OnUpdate hears of each look at a list, for metrics.
	OnUpdate func(Update)
	// Notify is called after lists changed, one call at a time, with all of
	// them. It must not call Load.
	Notify func([]*CRL)
}

// An Update is what came of one look at a list.
type Update struct {
	Name    string // the file or URL
	Outcome Outcome
	Err     error // nil unless the outcome is Stale, Refused or Failed
	List    *CRL  // held now; nil: none yet
}

// An Outcome is a closed set, fit for a metric label.
type Outcome string

// Outcomes of a look.
const (
	Loaded    Outcome = "ok"
	Unchanged Outcome = "unchanged"
	Stale     Outcome = "stale"   // held, but past its next update
	Refused   Outcome = "refused" // not a list we take, or older than the one held
	Failed    Outcome = "error"   // not to be had
)

// Outcomes lists every outcome of a look.
func Outcomes() []Outcome { return []Outcome{Loaded, Unchanged, Stale, Refused, Failed} }

// A Source keeps lists fresh. What does not load leaves the last good in force.
type Source struct {
	opts  SourceOptions
	items []*item

	current atomic.Pointer[Holdings]

	restoring, keeping sync.Mutex // before mu; one at a time reads Dir, and writes it

	mu      sync.Mutex // one change at a time; guards what follows
	inForce map[listKey]*CRL
	chains  map[issuerKey][]*x509.Certificate // of the issuers of those in force
	pending []string                          // kept lists that are not in force
	trusted []*x509.Certificate               // when they were last tried
	begun   bool                              // Dir has been read
	tried   bool                              // all that are pending, with those trusted

	asking sync.Mutex // guards round
	round  *round
	rounds chan *round
	found  chan struct{} // an issuer that was not known
}

// NewSource checks the options. It reads nothing yet.
func NewSource(opts SourceOptions) (*Source, error) {
	if opts.Every < 0 || opts.Timeout < 0 {
		return nil, fmt.Errorf("revocation: negative interval or timeout")
	}
	if opts.Issuers == nil {
		return nil, errors.New("revocation: no issuers: nobody could have signed a list")
	}
	opts.Every = cmp.Or(opts.Every, time.Hour)
	opts.Timeout = cmp.Or(opts.Timeout, 30*time.Second)
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	if opts.Transport == nil {
		opts.Transport = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
			MaxResponseHeaderBytes: MaxHeaderBytes}
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.OnUpdate == nil {
		opts.OnUpdate = func(Update) {}
	}
	if opts.Notify == nil {
		opts.Notify = func([]*CRL) {}
	}
	if opts.Anchors == nil {
		opts.Anchors = opts.Issuers
	}
	if opts.Admit == nil {
		opts.Admit = func(Mark) error { return nil }
	}
	if opts.Kept == nil {
		opts.Kept = func(Mark) {}
	}
	s := &Source{opts: opts, rounds: make(chan *round, 1), found: make(chan struct{}, 1),
		inForce: make(map[listKey]*CRL), chains: make(map[issuerKey][]*x509.Certificate)}
	for _, name := range opts.Files {
		s.items = append(s.items, newItem(s, name, fileOrigin(name)))
	}
	for _, address := range opts.URLs {
		origin, err := newURLOrigin(address, opts.Transport, opts.Timeout)
		if err != nil {
			return nil, err
		}
		s.items = append(s.items, newItem(s, origin.name(), origin))
	}
	for i, it := range s.items {
		if slices.ContainsFunc(s.items[:i], func(o *item) bool { return o.name == it.name }) {
			return nil, fmt.Errorf("revocation: %s is named twice", it.name)
		}
	}
	if opts.Before != nil {
		s.takeOver(opts.Before)
	}
	s.current.Store(s.holdings())
	return s, nil
}

// Holdings returns what is held.
func (s *Source) Holdings() *Holdings { return s.current.Load() }

// Lists returns the lists held, stale ones too. The slice is not to be changed.
func (s *Source) Lists() []*CRL { return s.Holdings().Lists }

// Held returns the list that each file and URL stands for, by its name; nil: none
// yet.
func (s *Source) Held() iter.Seq2[string, *CRL] {
	return func(yield func(string, *CRL) bool) {
		for _, it := range s.items {
			if !yield(it.name, it.list()) {
				return
			}
		}
	}
}

// Missing names the files and URLs no list is held of.
func (s *Source) Missing() []string { return s.Holdings().Missing }

// Load looks at all lists now and returns every error at once. Whatever loads
// is held. It is for the start, so that there are lists when the door opens;
// [Source.Run] retries what is missing.
func (s *Source) Load(ctx context.Context) error {
	errs := make([]error, len(s.items))
	var wg sync.WaitGroup
	for i, it := range s.items {
		wg.Go(func() {
			errs[i] = contain.Do(s.opts.Logger, "load a CRL", func() error { _, err := it.refresh(ctx, true); return err })
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Reload tells Run to look at all lists again, whether they seem changed or not:
// after a file changed, or the issuers did. It does not wait.
func (s *Source) Reload() {
	for _, it := range s.items {
		it.lookAnew()
	}
}

// Run refreshes the lists until ctx ends. A list not held yet is looked for at
// once; others in time before their next update.
func (s *Source) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, it := range s.items {
		wg.Go(func() { contain.Loop(ctx, s.opts.Logger, "keep a CRL fresh", it.run) })
	}
	wg.Go(func() { contain.Loop(ctx, s.opts.Logger, "look for CRLs of a new issuer", s.lookForFound) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-s.rounds:
			_ = s.Load(ctx) // told, each by itself
			close(r.done)
		}
	}
}
