package doctor_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// Wrong tokens of the doctor's count as anybody's: who tries one again and again is
// told to stop, and not that the tenant asks for too much.
func TestLockedOut(t *testing.T) {
	g := servertest.Start(t, servertest.Options{Lockout: true})
	w := &world{T: t, Gate: g, dir: t.TempDir()}
	o := w.client()
	o.Token = new("some-other-key")
	for range 10 {
		if r := w.examine(o); r.Finding != "token_unknown" {
			t.Fatalf("found %q\n%s", r.Finding, told(r))
		}
	}
	r := w.examine(o)
	if r.Finding != "locked_out" || !strings.Contains(told(r), "then try once") {
		t.Errorf("found %q\n%s", r.Finding, told(r))
	}
}

// A tenant that asks for more than it may is told so, and what else it could be.
func TestRateLimited(t *testing.T) {
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return strings.Replace(yaml, "  - id: acme\n", "  - id: acme\n    limits: {requestsPerSecond: 0.01, burst: 1}\n", 1)
	}})
	w := &world{T: t, Gate: g, dir: t.TempDir()}
	o := w.client()
	if r := w.examine(o); !r.Good {
		t.Fatal(told(r))
	}
	if r := w.examine(o); r.Finding != "rate_limited" || !strings.Contains(told(r), "locked_out") {
		t.Errorf("found %q\n%s", r.Finding, told(r))
	}
}

// How far past its end a token may be is the gate's to say, within bounds.
func TestLeeway(t *testing.T) {
	w := newWorld(t)
	w.Configure(func(yaml string) string { return strings.Replace(yaml, scopes, scopes+"\n    clockSkew: 5m", 1) })
	o := w.client()
	for name, change := range map[string]servertest.Claims{
		"ended": {"exp": time.Now().Add(-3 * time.Minute).Unix()},
		"young": {"nbf": time.Now().Add(3 * time.Minute).Unix()},
	} {
		o.Token = new(w.issuer.Token(w.claims().With(change)))
		if r := w.examine(o); !r.Good || !strings.Contains(told(r), "the gate may allow for clocks") {
			t.Errorf("%s: let in, and yet %q\n%s", name, r.Finding, told(r))
		}
	}
}

// Where only keys are known, a JWT is an unknown one; where the gate does not tell
// whose tokens it takes, nothing is concluded from that.
func TestTokensTaken(t *testing.T) {
	i := servertest.NewIssuer(t)
	g := servertest.Start(t, servertest.Options{})
	w := &world{T: t, Gate: g, issuer: i, dir: t.TempDir()}
	o := w.client()
	o.Token = new(i.Token(i.Claims("acme")))
	if r := w.examine(o); r.Finding != "token_unknown" || !strings.Contains(told(r), "API keys only") {
		t.Errorf("found %q\n%s", r.Finding, told(r))
	}
	good := g.CA.Issue(t, pkitest.Leaf{IPs: here})
	rec := record(t, func(int) *pkitest.Cert { return good })
	rec.metadata = func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"error":"unavailable"}`)
	}
	o.URL = rec.URL
	if r := w.examine(o); !r.Good || !strings.Contains(told(r), "not compared") {
		t.Errorf("found %q\n%s", r.Finding, told(r))
	}
}

// A tenant whose token may be left out, with another tenant's: its certificate alone
// is let in, and not asked for a token.
func TestOptionalToken(t *testing.T) {
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return strings.Replace(yaml, "  - id: acme\n", "  - id: acme\n    secondFactor: optional\n", 1)
	}})
	w := &world{T: t, Gate: g, dir: t.TempDir()}
	o := w.client()
	o.Token = new(g.Key("globex"))
	if r := w.examine(o); r.Finding != "tenant_mismatch" || !strings.Contains(told(r), "certificate alone it is let in") {
		t.Errorf("found %q\n%s", r.Finding, told(r))
	}
}
