package ocsp

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// What a real responder can say, over a real listener.
func TestAnswers(t *testing.T) {
	root := newCA(t, "root", nil)
	ca, other := newCA(t, "ours", root), newCA(t, "theirs", root)
	twin := newCA(t, "ours", root) // the same name, another key
	critical := []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
	good, ended := ca.delegate(t, nil), ca.delegate(t, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Minute)
	})
	now := time.Now()
	edit := func(f func(*ocsp.Response)) func(*responder) { return func(r *responder) { r.edit = f } }
	by := func(a *authority) func(*responder) { return func(r *responder) { r.by = a } }
	whole := func(f func(w http.ResponseWriter)) func(*responder) {
		return func(r *responder) { r.whole = func(w http.ResponseWriter) bool { f(w); return true } }
	}
	raw := func(body []byte) func(*responder) {
		return whole(func(w http.ResponseWriter) { w.Write(body) })
	}
	tests := []struct {
		name    string
		set     func(*responder)
		status  Status
		outcome Outcome
		detail  string
	}{
		{"good", edit(nil), Good, AnsweredGood, ""},
		{"revoked", edit(func(a *ocsp.Response) {
			a.Status, a.RevokedAt, a.RevocationReason = ocsp.Revoked, now.Add(-time.Hour), ocsp.KeyCompromise
		}), Revoked, AnsweredRevoked, "keyCompromise"},
		{"no status at all", edit(func(a *ocsp.Response) { a.Status = ocsp.Revoked }), Unknown, Refused, "not well formed"},
		{"unknown", edit(func(a *ocsp.Response) { a.Status = ocsp.Unknown }), Unknown, AnsweredUnknown, "does not know it"},

		{"delegated", by(good), Good, AnsweredGood, ""},
		{"issuer's own certificate enclosed", by(ca), Good, AnsweredGood, ""},
		{"delegated, without key usage", by(ca.delegate(t, func(c *x509.Certificate) { c.KeyUsage = 0 })), Good, AnsweredGood, ""},
		{"delegated, without EKU", by(ca.delegate(t, func(c *x509.Certificate) { c.ExtKeyUsage = nil })), Unknown, Refused, "id-kp-OCSPSigning"},
		{"delegated, any EKU", by(ca.delegate(t, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny, x509.ExtKeyUsageClientAuth}
		})), Unknown, Refused, "id-kp-OCSPSigning"},
		{"delegated, other key usage", by(ca.delegate(t, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })), Unknown, Refused, "key usage"},
		{"delegated, ended", by(ended), Unknown, Refused, "it ended at"},
		{"delegated, not yet valid", by(ca.delegate(t, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = now.Add(time.Hour), now.Add(2*time.Hour)
		})), Unknown, Refused, "valid from"},
		{"delegated by another CA", by(other.delegate(t, nil)), Unknown, Refused, "another CA"},
		{"delegated by a CA of the same name", by(twin.delegate(t, nil)), Unknown, Refused, "another CA"},
		{"delegated by a CA of the same key", by(ca.renamed(t, "theirs").delegate(t, nil)), Unknown, Refused, "another CA"},
		{"delegated, critical extension", by(ca.delegate(t, func(c *x509.Certificate) { c.ExtraExtensions = critical })), Unknown, Refused, "critical extension"},
		{"delegated with SHA-1", by(ca.delegate(t, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 })), Unknown, Refused, "insecure algorithm"},
		{"delegated by the root", by(root.delegate(t, nil)), Unknown, Refused, "another CA"},
		{"delegated, name with a line break", by(root.delegate(t, func(c *x509.Certificate) { c.Subject.CommonName = "a\nb" })), Unknown, Refused, `a\nb`},
		{"signed by another CA, which is not told", func(r *responder) {
			r.whole = func(w http.ResponseWriter) bool {
				o := &responder{ca: other}
				der, _ := o.sign(ocsp.Response{SerialNumber: ca.cert.SerialNumber, ThisUpdate: now, NextUpdate: now.Add(time.Hour)}, nil)
				w.Write(der)
				return true
			}
		}, Unknown, Refused, "about this certificate"},

		{"other serial", edit(func(a *ocsp.Response) { a.SerialNumber = ca.cert.SerialNumber }), Unknown, Refused, "about this certificate"},
		{"SHA-1 signature", edit(func(a *ocsp.Response) { a.SignatureAlgorithm = x509.ECDSAWithSHA1 }), Unknown, Refused, "signed with 1.2.840.10045.4.1,"},
		{"stale", edit(func(a *ocsp.Response) { a.ThisUpdate, a.NextUpdate = now.Add(-2*time.Hour), now.Add(-time.Second) }), Unknown, Refused, "ended at"},
		{"stale and revoked", edit(func(a *ocsp.Response) {
			a.Status, a.RevokedAt = ocsp.Revoked, now.Add(-3*time.Hour)
			a.ThisUpdate, a.NextUpdate = now.Add(-2*time.Hour), now.Add(-time.Second)
		}), Unknown, Refused, "ended at"},
		{"future", edit(func(a *ocsp.Response) { a.ThisUpdate = now.Add(2 * time.Minute) }), Unknown, Refused, "from the future"},
		{"a little ahead", edit(func(a *ocsp.Response) { a.ThisUpdate = now.Add(30 * time.Second) }), Good, AnsweredGood, ""},
		{"ends before it begins", edit(func(a *ocsp.Response) {
			a.ThisUpdate, a.NextUpdate = now.Add(50*time.Second), now.Add(40*time.Second)
		}), Unknown, Refused, "before it begins"},
		{"no next update", edit(func(a *ocsp.Response) { a.NextUpdate = time.Time{} }), Good, AnsweredGood, ""},

		{"tryLater", raw(ocsp.TryLaterErrorResponse), Unknown, Failed, "try later"},
		{"unauthorized", raw(ocsp.UnauthorizedErrorResponse), Unknown, Failed, "unauthorized"},
		{"malformed", raw(ocsp.MalformedRequestErrorResponse), Unknown, Failed, "malformed"},
		{"garbage", raw([]byte("<html>\n")), Unknown, Refused, "not an OCSP answer"},
		{"nothing", raw(nil), Unknown, Refused, "not an OCSP answer"},
		{"1 MB", raw(make([]byte, 1<<20)), Unknown, Failed, "more than 65536 bytes"},
		{"1 MB in pieces", whole(func(w http.ResponseWriter) {
			for range 1 << 10 {
				w.Write(make([]byte, 1<<10))
				w.(http.Flusher).Flush()
			}
		}), Unknown, Failed, "more than 65536 bytes"},
		{"cut off", whole(func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			w.Write([]byte{0x30})
		}), Unknown, Failed, "EOF"},
		{"redirect", whole(func(w http.ResponseWriter) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}), Unknown, Failed, "redirects are not followed"},
		{"500", whole(func(w http.ResponseWriter) { w.WriteHeader(500) }), Unknown, Failed, "answered 500"},
		{"other content type", whole(func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/html\x1b") }), Unknown, Failed, `text/html`},
		{"right answer, other content type", func(r *responder) {
			r.whole = func(w http.ResponseWriter) bool { w.Header().Set("Content-Type", "text/html"); return false }
		}, Unknown, Failed, `text/html`},
		{"inflated", whole(func(w http.ResponseWriter) { w.Header().Set("Content-Encoding", "gzip") }), Unknown, Failed, "content encoding"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &responder{ca: ca}
			test.set(r)
			heard := make(outcomes, 10)
			c := start(t, Options{OnAnswer: heard.hear, Now: func() time.Time { return now }})
			e := c.Entry(chain(ca.leaf(t, r.listen(t)), ca, root))
			if outcome := heard.next(t); outcome != test.outcome {
				t.Errorf("outcome %q, want %q", outcome, test.outcome)
			}
			status, detail := e.Status(now)
			if status != test.status || !strings.Contains(detail, test.detail) || (detail == "") != (status == Good) {
				t.Errorf("%v, %q; want %v, %q", status, detail, test.status, test.detail)
			}
			if strings.ContainsAny(detail, "\n\x1b") {
				t.Errorf("detail of more than a line: %q", detail)
			}
		})
	}
}

// A responder that says nothing is given up on.
func TestHang(t *testing.T) {
	ca := newCA(t, "ours", nil)
	r := &responder{ca: ca}
	url := r.listen(t)
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	r.whole = func(w http.ResponseWriter) bool { <-over; return true }
	heard := make(outcomes, 10)
	c := start(t, Options{Timeout: 20 * time.Millisecond, OnAnswer: heard.hear})
	e := c.Entry(chain(ca.leaf(t, url), ca))
	if outcome := heard.next(t); outcome != Failed {
		t.Errorf("outcome %q", outcome)
	}
	if status, detail := e.Status(time.Now()); status != Unknown || !strings.Contains(detail, "nothing within 20ms") {
		t.Errorf("%v, %q", status, detail)
	}
}

// A delegate is shown to who can tell whether it is revoked itself, and its
// answers last no longer than it.
func TestDelegateIsChecked(t *testing.T) {
	ca := newCA(t, "ours", nil)
	end := time.Now().Add(10 * time.Minute).Truncate(time.Second)
	r := &responder{ca: ca, by: ca.delegate(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), end })}
	url := r.listen(t)
	var refuse error
	opts := Options{CheckDelegate: func(chain []*x509.Certificate) error {
		if len(chain) != 2 || !chain[0].Equal(r.by.cert) || !chain[1].Equal(ca.cert) {
			return errors.New("another chain")
		}
		return refuse
	}}
	e := start(t, opts).Entry(chain(ca.leaf(t, url), ca))
	if status, detail := await(t, e); status != Good {
		t.Errorf("%v, %q", status, detail)
	}
	if status, _ := e.Status(end.Add(time.Second)); status != Unknown {
		t.Errorf("%v after its signer's end", status)
	}
	refuse = errors.New("it is on the list")
	heard := make(outcomes, 10)
	opts.OnAnswer = heard.hear
	e = start(t, opts).Entry(chain(ca.leaf(t, url), ca))
	if outcome := heard.next(t); outcome != Refused {
		t.Errorf("outcome %q", outcome)
	}
	if status, detail := e.Status(time.Now()); status != Unknown || !strings.Contains(detail, "on the list") {
		t.Errorf("%v, %q", status, detail)
	}
}

// Who cannot be asked about is Unknown, says why, and costs nothing.
func TestNobodyToAsk(t *testing.T) {
	ca := newCA(t, "ours", nil)
	c := start(t, Options{})
	for _, test := range []struct {
		urls   []string
		detail string
	}{
		{nil, "names no OCSP responder"},
		{[]string{"ldap://ca.example/ocsp"}, "neither http nor https"},
		{[]string{"http://me:secret@ca.example/"}, "with a user"},
		{[]string{"http:///ocsp"}, "without a host"},
		{[]string{"http://:80/"}, "without a host"},
		{[]string{"https://ca.example/#a"}, "fragment"},
	} {
		e := c.Entry(chain(ca.leaf(t, test.urls...), ca))
		status, detail := await(t, e)
		if status != Unknown || !strings.Contains(detail, test.detail) || strings.Contains(detail, "secret") {
			t.Errorf("%q: %v, %q", test.urls, status, detail)
		}
	}
	if status, detail := await(t, c.Entry(chain(ca))); status != Unknown || !strings.Contains(detail, "no issuer") {
		t.Errorf("%v, %q", status, detail)
	}
	if c.Len() != 0 {
		t.Errorf("%d entries held", c.Len())
	}
	r := &responder{ca: ca}
	if status, detail := await(t, c.Entry(chain(ca.leaf(t, "ldap://ca.example/", r.listen(t)), ca))); status != Good {
		t.Errorf("second address: %v, %q", status, detail)
	}
}

func TestOptions(t *testing.T) {
	for _, bad := range []Options{
		{Timeout: -1}, {Every: -1}, {Idle: -1}, {Max: -1}, {Hash: 99},
		{Responder: "ldap://a/"}, {Responder: "http://u:p@a/"}, {Responder: "http:///x"}, {Responder: "%zz"},
	} {
		if c, err := New(bad); err == nil || c != nil || strings.Contains(err.Error(), ":p@") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if o := c.opts; fmt.Sprint(o.Max, o.Timeout, o.Every, o.Idle) != "100000 5s 1h0m0s 2h0m0s" {
		t.Errorf("defaults: %+v", o)
	}
}
