package ocsp

import (
	"cmp"
	"crypto"
	"crypto/fips140"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// Bounds that no option moves.
const (
	MaxAnswerBytes = 64 << 10 // of one answer
	maxWaiting     = 1024     // first look-ups that go before everything else
	atOnce         = 8        // exchanges
)

// Options shape a [Cache]. The zero value works.
type Options struct {
	// Responder is the http or https URL asked about every certificate. Where
	// empty, a certificate is asked about at the first usable address it names
	// itself (authority information access, RFC 5280, 4.2.2.1).
	Responder string
	// MayName reports whether the certificates of an issuer may name their
	// responder; nil: those of any issuer. Whoever has a CA below one that is
	// trusted, such as a tenant, writes what it likes into certificates, and could
	// have any address dialled.
	MayName func(issuer *x509.Certificate) bool
	// Hash makes the certificate's identifier in requests: crypto.SHA1 where
	// zero, which every responder knows (RFC 5019) and which only names, or
	// crypto.SHA256, which is what zero means in FIPS 140-only mode.
	Hash crypto.Hash
	// CheckDelegate is asked about the certificate of a responder that is not
	// the issuer itself, given as [responder, issuer], each time it signed an
	// answer; an error refuses the answer. It is the place to look for the
	// responder's own revocation (RFC 6960, 4.2.2.2.1), which nothing else here
	// does.
	CheckDelegate func(chain []*x509.Certificate) error

	// Transport makes the requests, with the roots and the egress rules of the
	// caller. No proxy, and the system's roots, where nil.
	Transport http.RoundTripper
	Timeout   time.Duration // of one exchange; 5 s where zero

	// Every is the longest time between two looks at a certificate in use,
	// however long its answers last; 1 h where zero.
	Every time.Duration
	// Idle is after how long an entry nobody asks about is forgotten; 2 h where
	// zero. It should be longer than a connection may be silent.
	Idle time.Duration
	// Max is how many entries are held; 100,000 where zero. The ones that were
	// longest unused go first.
	Max int

	Now    func() time.Time // time.Now where nil
	Logger *slog.Logger     // nil: silent

	// OnAnswer hears of what came of each look, for metrics. The error is nil
	// for the three that are answers.
	OnAnswer func(Outcome, error)
	// Notify is called when a certificate's status changed to or from Revoked,
	// for those who hold connections open. Calls may overlap.
	Notify func()
}

// An Outcome is a closed set, fit for a metric label.
type Outcome string

// Outcomes of a look.
const (
	AnsweredGood    Outcome = "good"
	AnsweredRevoked Outcome = "revoked"
	AnsweredUnknown Outcome = "unknown" // the responder does not know the certificate
	Refused         Outcome = "refused" // not an answer we take
	Failed          Outcome = "error"   // no answer: network, HTTP, tryLater, unauthorized and the like
	Postponed       Outcome = "postponed"
)

// withDefaults checks the options and fills in what is not given.
func (o Options) withDefaults() (Options, error) {
	if o.Timeout < 0 || o.Every < 0 || o.Idle < 0 || o.Max < 0 {
		return o, errors.New("ocsp: negative timeout, interval or bound")
	}
	switch {
	case o.Hash == 0 && fips140.Enforced():
		o.Hash = crypto.SHA256
	case o.Hash == 0:
		o.Hash = crypto.SHA1
	case o.Hash == crypto.SHA1 && fips140.Enforced():
		return o, errors.New("ocsp: SHA-1 is not allowed in FIPS 140-only mode; use SHA-256")
	case o.Hash != crypto.SHA1 && o.Hash != crypto.SHA256:
		return o, fmt.Errorf("ocsp: requests are made with SHA-1 or SHA-256, not %v", o.Hash)
	}
	if o.Responder != "" {
		if err := checkAddress(o.Responder); err != nil {
			return o, fmt.Errorf("ocsp: responder: %w", err)
		}
	}
	if o.Transport == nil {
		o.Transport = &http.Transport{
			DisableCompression: true, MaxConnsPerHost: atOnce, MaxIdleConnsPerHost: atOnce,
			IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		}
	}
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	o.Every = cmp.Or(o.Every, time.Hour)
	o.Idle = cmp.Or(o.Idle, 2*time.Hour)
	o.Max = cmp.Or(o.Max, 100_000)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnAnswer == nil {
		o.OnAnswer = func(Outcome, error) {}
	}
	if o.Notify == nil {
		o.Notify = func() {}
	}
	return o, nil
}

// checkAddress says what is wrong with a responder's address, without telling
// secrets that may be in it.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return errors.New("not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%q is neither http nor https", clip(u.Scheme))
	case u.Hostname() == "":
		return errors.New("a URL without a host")
	case u.User != nil:
		return fmt.Errorf("a URL with a user: %q", clip(u.Host))
	case u.Fragment != "":
		return fmt.Errorf("a URL with a fragment: %q", clip(u.Host))
	}
	return nil
}

// maxAddresses are looked at of those that a certificate names.
const maxAddresses = 8

// addressOf returns where to ask about leaf, of the given issuer.
func (o *Options) addressOf(leaf, issuer *x509.Certificate) (string, error) {
	if o.Responder != "" {
		return o.Responder, nil
	}
	if len(leaf.OCSPServer) > 0 && o.MayName != nil && !o.MayName(issuer) {
		return "", errors.New("its issuer is not itself a client CA, so the OCSP responder that it names is not asked; " +
			"configure the responder, or add the issuer to the client CAs")
	}
	var first error
	for _, address := range leaf.OCSPServer[:min(len(leaf.OCSPServer), maxAddresses)] {
		err := checkAddress(address)
		if err == nil {
			return address, nil
		}
		first = cmp.Or(first, err)
	}
	if first != nil {
		return "", fmt.Errorf("the OCSP responder named by the certificate is not usable: %w", first)
	}
	return "", errors.New("the certificate names no OCSP responder, and none is configured")
}

// clip bounds what goes into a log line from outside.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// Outcomes lists every outcome of a look.
func Outcomes() []Outcome {
	return []Outcome{AnsweredGood, AnsweredRevoked, AnsweredUnknown, Refused, Failed, Postponed}
}
