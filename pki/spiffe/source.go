package spiffe

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Options shape a [Source]; the zero value takes the default identity of the
// agent that SPIFFE_ENDPOINT_SOCKET names.
type Options struct {
	Address string // unix:///run/spire/agent.sock or tcp://ip:port; SPIFFE_ENDPOINT_SOCKET when empty
	ID      string // the SPIFFE ID to take where the agent offers several; the first when empty
	Hint    string // instead of ID: the hint, set by the operator, of the one to take

	// Federated are the trust domains, beside our own, whose bundles are taken
	// when the agent gives them.
	Federated []string

	Logger  *slog.Logger
	Now     func() time.Time
	OnEvent func(Event) // one call at a time; must not block
}

// An Op is what an [Event] is about.
type Op string

// The operations of a [Source].
const (
	OpConnect Op = "connect" // the stream of updates ended, or could not be had
	OpUpdate  Op = "update"  // the agent sent an update
)

// An Event is one update, good or bad, or one failure to get any.
type Event struct {
	Op       Op
	Err      error     // nil: an update that passed
	Changed  bool      // certificate or bundles are others than before
	NotAfter time.Time // of the certificate now held, zero when there is none
	Next     time.Time // when the next attempt to connect is planned; zero: the agent's doing
}

// Result returns ok or error, a metric's label.
func (e Event) Result() string {
	if e.Err != nil {
		return "error"
	}
	return "ok"
}

// A Source holds the certificate and the bundles an agent gave. One Run at a
// time.
type Source struct {
	opts      Options
	id        spiffeid.ID // zero: not asked for by ID
	federated []spiffeid.TrustDomain

	held    atomic.Pointer[held]
	sifted  leftOut                 // of the update that came last; for the goroutine that gets them
	leftOut atomic.Pointer[leftOut] // of the one in force

	ready chan struct{} // closed once there is a certificate
	swaps chan struct{} // of one: held has changed

	mu     sync.Mutex // one call of those who asked at a time; guards notify
	notify []func()
}

// held is immutable.
type held struct {
	id      spiffeid.ID
	cert    *tls.Certificate // nil: none yet
	bundles map[string][]*x509.Certificate
}

// New checks the options, and no more: there is no certificate before Run.
func New(opts Options) (*Source, error) {
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Source{opts: opts, ready: make(chan struct{}), swaps: make(chan struct{}, 1)}
	s.held.Store(new(held))
	var errs [4]error
	s.opts.Address, errs[0] = address(opts.Address)
	if opts.ID != "" {
		if s.id, errs[1] = parseID(opts.ID); opts.Hint != "" {
			errs[2] = errors.New("both an ID and a hint are given; choose the certificate by one of them")
		}
	}
	s.federated, errs[3] = parseDomains(opts.Federated)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("spiffe: %w", err)
	}
	return s, nil
}

// Certificate returns what to show now, Leaf set: nil while there is none, and
// when the last has ended. It is the same pointer until there is another
// certificate. Not to be changed.
func (s *Source) Certificate() *tls.Certificate {
	crt := s.held.Load().cert
	if crt == nil || s.opts.Now().After(crt.Leaf.NotAfter) {
		return nil
	}
	return crt
}

// Bundles returns the authorities by trust domain, sorted by their DER: those of
// our own and of each in Options.Federated that the agent gave last; nil before
// the first update. Each domain's are for the peers of that domain only. Not to
// be changed.
func (s *Source) Bundles() map[string][]*x509.Certificate { return s.held.Load().bundles }

// LeftOut says what of the update in force was left out, and why: certificates of a bundle
// that are no CA's, say. At most 20 short texts.
func (s *Source) LeftOut() []string {
	if left := s.leftOut.Load(); left != nil {
		return *left
	}
	return nil
}

// TrustDomain returns the name of our own, example.org; before the first update
// the one of Options.ID, or nothing.
func (s *Source) TrustDomain() string {
	if id := s.held.Load().id; !id.IsZero() {
		return id.TrustDomain().Name()
	}
	return s.id.TrustDomain().Name()
}

// ID returns the SPIFFE ID of the certificate last taken; empty before that.
func (s *Source) ID() string { return s.held.Load().id.String() }

// Ready is closed once [Source.Certificate] has had something to return.
func (s *Source) Ready() <-chan struct{} { return s.ready }

// Next returns the zero time: when to renew is the agent's to decide.
func (s *Source) Next() time.Time { return time.Time{} }

// Notify has f called after each change of certificate or bundles, and when the
// certificate ended without another, one call at a time. f must not block, nor
// call Notify.
func (s *Source) Notify(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notify = append(s.notify, f)
}

func (s *Source) callNotify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.notify {
		f()
	}
}

// take puts a vetted update in force and reports whether anything changed. What
// did not change keeps its identity.
func (s *Source) take(next held) (changed bool) {
	was := s.held.Load()
	sameCert := was.cert != nil && slices.EqualFunc(was.cert.Certificate, next.cert.Certificate, slices.Equal[[]byte])
	sameBundles := maps.EqualFunc(was.bundles, next.bundles, sameCertificates)
	if sameCert && sameBundles {
		return false
	}
	if sameCert {
		next.cert = was.cert
	}
	if sameBundles {
		next.bundles = was.bundles
	}
	s.held.Store(&next)
	if was.cert == nil {
		close(s.ready)
	}
	select {
	case s.swaps <- struct{}{}:
	default:
	}
	s.logChange(was, &next)
	s.callNotify()
	return true
}

func sameCertificates(a, b []*x509.Certificate) bool {
	return slices.EqualFunc(a, b, (*x509.Certificate).Equal)
}

func (s *Source) logChange(was, now *held) {
	counts := make([]any, 0, len(now.bundles))
	for _, domain := range slices.Sorted(maps.Keys(now.bundles)) {
		counts = append(counts, slog.Int(domain, len(now.bundles[domain])))
	}
	log, leaf := s.opts.Logger, now.cert.Leaf
	log.Info("certificate and bundles of the SPIFFE agent in place", "spiffeID", now.id.String(),
		"serial", leaf.SerialNumber.Text(16), "notAfter", leaf.NotAfter,
		"newCertificate", was.cert != now.cert, slog.Group("authorities", counts...))
	if !was.id.IsZero() && was.id != now.id {
		log.Warn("the agent gave another SPIFFE ID than before; name the one to take in the configuration if that is not meant",
			"was", was.id.String(), "spiffeID", now.id.String())
	}
	for _, td := range s.federated {
		_, had := was.bundles[td.Name()]
		if _, has := now.bundles[td.Name()]; !has && (had || was.cert == nil) {
			log.Warn("the agent gives no bundle of a federated trust domain, its clients are refused; "+
				"see spire-server federation list, and -federatesWith of this gate's entry", "trustDomain", td.Name())
		}
	}
}

func (s *Source) tell(e Event) {
	if crt := s.held.Load().cert; crt != nil {
		e.NotAfter = crt.Leaf.NotAfter
	}
	if s.opts.OnEvent != nil {
		s.opts.OnEvent(e)
	}
}
