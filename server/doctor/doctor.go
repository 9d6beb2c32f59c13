// Package doctor looks at a gate from a client's side, with what the client has:
// name, port, TLS, the server's certificate, the client's own, clocks, token. It
// names the first thing that is wrong.
//
// A gate tells its peers little, so much is concluded from what the client can see:
// alerts, the CAs that the gate asks for, its metadata, and what it says to the same
// request with less in it. The token goes only to a server that has proven itself.
package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/sangate/sangate/docs"
	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/jwt"
	"github.com/sangate/sangate/server/steps"
)

// Bounds of an examination.
const (
	overall        = time.Minute
	dialTimeout    = 5 * time.Second // of all addresses, and
	dialGrace      = time.Second     // of the others once one has answered
	maxAddresses   = 8
	maxTold        = 8 // names in one line
	requestTimeout = 10 * time.Second
	maxAnswer      = 4 << 20
	maxSkew        = time.Minute     // of clocks
	maxLeeway      = 5 * time.Minute // a gate's for tokens: issuers[].clockSkew
)

// Options are what the client has. URL and CA are required.
type Options struct {
	URL          string // of the gate, https://host[:port]; a path is not looked at
	CA           []string
	Files        pki.Files // Cert, Key, KeyPasswordFile; ClientCA is not looked at
	Token        *string   // nil: none is sent
	TenantHeader *string
	Tool         string // to be called, or ""
	MaxVersion   uint16 // as a client that speaks no newer TLS would be met; 0: no bound
	Now          func() time.Time
	Wait         time.Duration                                                         // for each answer; 10 s where zero
	Lookup       func(ctx context.Context, network, host string) ([]netip.Addr, error) // the resolver's where nil
}

// A Report says what was seen, step by step.
type Report struct {
	URL     string       `json:"url"`
	Good    bool         `json:"good"`
	Finding string       `json:"finding,omitempty"` // the first thing wrong: a heading of docs/reasons.md or docs/doctor.md
	Means   string       `json:"means,omitempty"`
	Likely  string       `json:"likely,omitempty"` // causes
	Do      string       `json:"do,omitempty"`
	Steps   []steps.Step `json:"steps"`
	Seen    Seen         `json:"seen"`
}

// An examination is one in progress.
type examination struct {
	Options
	url    *url.URL // without the zone
	host   string
	zone   string
	port   string
	addrs  []netip.Addr
	remote string   // the address that answered
	conn   net.Conn // to it, for whoever meets it first

	anchors []*x509.Certificate // of CA
	roots   *x509.CertPool
	chain   []*x509.Certificate // the client's own
	own     *tls.Certificate    // nil where there is none that could be shown
	ownErr  error
	late    string              // what is wrong with the dates of others in the file than the leaf
	tops    []*x509.Certificate // of the chain, whose issuers the gate asks for

	met      *meeting
	metadata *metadata  // nil: it is not told
	keyID    string     // of the token, where it is an API key
	claim    *jwt.Claim // what the token says of itself, where it is a JWT
	step     *steps.Step
}

var looks = []struct {
	name string
	look func(*examination, context.Context) (finding string)
}{
	{"address", (*examination).address},
	{"connection", (*examination).connection},
	{"tls", (*examination).tls},
	{"clock", (*examination).clock},
	{"server certificate", (*examination).serverCertificate},
	{"client certificate", (*examination).clientCertificate},
	{"handshake", (*examination).handshake},
	{"gate", (*examination).gate},
	{"token", (*examination).token},
	{"request", (*examination).request},
}

// Examine looks until something is wrong. Its error is for options that cannot be
// used at all: a URL that is none, a CA file that does not load.
func Examine(ctx context.Context, opts Options) (*Report, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Lookup == nil {
		opts.Lookup = net.DefaultResolver.LookupNetIP
	}
	opts.Wait = cmp.Or(opts.Wait, requestTimeout)
	e := &examination{Options: opts}
	bundle, err := pki.LoadBundle(opts.CA)
	if err != nil {
		return nil, err
	}
	e.anchors = bundle.Certificates()
	e.roots = pool(e.anchors)
	if err := e.parseURL(); err != nil {
		return nil, err
	}
	e.loadOwn()
	bounded, cancel := context.WithTimeout(ctx, overall)
	defer cancel()
	r := &Report{URL: opts.URL}
	defer func() { r.Seen = e.seen() }()
	for _, s := range looks {
		r.Steps = append(r.Steps, steps.Step{Name: s.name, Outcome: steps.NotReached})
	}
	for i, s := range looks {
		e.step = &r.Steps[i]
		e.step.Outcome = steps.OK
		if r.Finding = s.look(e, bounded); r.Finding != "" {
			e.step.Outcome = steps.Wrong
			entry, _ := docs.Reason(r.Finding)
			r.Means, r.Likely, r.Do = entry.Means, entry.Likely, entry.Do
			return r, ctx.Err()
		}
	}
	r.Good = true
	return r, nil
}

// tell adds a line to the step.
func (e *examination) tell(format string, args ...any) {
	e.step.Detail = append(e.step.Detail, fmt.Sprintf(format, args...))
}

// loadOwn reads what the client shows; what is wrong with it is told when its
// turn comes.
func (e *examination) loadOwn() {
	if e.Files.Cert == "" {
		return
	}
	if e.chain, e.ownErr = e.Files.LoadChain(); e.ownErr == nil {
		e.own, e.ownErr = e.Files.LoadCertificate()
	}
}

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }
