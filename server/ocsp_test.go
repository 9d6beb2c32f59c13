package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// A responder answers for one CA: good, unless told otherwise of a serial number.
// Its answers end soon, so that they are asked for again soon.
type responder struct {
	ca *pkitest.CA

	mu      sync.Mutex
	revoked map[string]bool
	silent  bool
}

func (r *responder) tell(serial string, revoked, silent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revoked = map[string]bool{serial: revoked}
	r.silent = silent
}

func (r *responder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, err := io.ReadAll(req.Body)
	if err != nil || r.silent {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	asked, err := ocsp.ParseRequest(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := ocsp.Response{Status: ocsp.Good, SerialNumber: asked.SerialNumber, ThisUpdate: time.Now().Add(-time.Second), NextUpdate: time.Now().Add(3 * time.Second)}
	if r.revoked[asked.SerialNumber.String()] {
		answer.Status, answer.RevokedAt = ocsp.Revoked, time.Now()
	}
	der, err := ocsp.CreateResponse(r.ca.Cert, r.ca.Cert, answer, r.ca.Key())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/ocsp-response")
	_, _ = w.Write(der)
}

// asking configures a responder for the gate's clients.
func asking(t *testing.T, mode string, opts servertest.Options) (*servertest.Gate, *responder) {
	t.Helper()
	r := &responder{}
	at := httptest.NewServer(r)
	t.Cleanup(at.Close)
	opts.Config = func(yaml string) string {
		return strings.Replace(yaml, "clientCA:", "revocation: {ocsp: "+mode+", ocspResponder: \""+at.URL+"\"}, clientCA:", 1)
	}
	g := servertest.Start(t, opts)
	r.ca = g.CA
	return g, r
}

// The responder is asked about a certificate when it is first seen. In hard mode
// the handshake waits for the answer, in soft mode it does not; without one, hard
// mode lets nobody in.
func TestOCSP(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, mode      string
		revoked, silent bool
		want            string
	}{
		{"hard, good", "hard", false, false, "ok"},
		{"hard, revoked", "hard", true, false, "revoked"},
		{"hard, no answer", "hard", false, true, "revocation_unknown"},
		{"soft, good", "soft", false, false, "ok"},
		{"soft, no answer", "soft", false, true, "ok"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, responder := asking(t, tt.mode, servertest.Options{})
			cert := g.Cert("acme")
			responder.tell(cert.Leaf.SerialNumber.String(), tt.revoked, tt.silent)
			before := g.By(handshakes, "result")
			_, err := try(t, g.Client(cert), http.MethodGet, g.URL+"/health", "")
			if (err == nil) != (tt.want == "ok") {
				t.Errorf("got in: %v", err)
			}
			wantChange(t, g, handshakes, "result", before, map[string]float64{tt.want: 1})
			if tt.want == "revoked" && g.Metric("sangate_revocations_total", "name", "ocsp") != 1 {
				t.Error("not counted as the responder's word")
			}
		})
	}
}

// What the responder takes back ends what is running and the next handshake,
// without a word from anybody else; other certificates go on.
func TestOCSPRevokedSince(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"hard", "soft"} {
		t.Run(mode, func(t *testing.T) {
			wait, began, release := waiting(t)
			defer close(release)
			g, responder := asking(t, mode, servertest.Options{Tools: []*tool.Tool{wait}})
			cert, other := g.Cert("acme"), g.CA.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/other"}})
			token := "Authorization: Bearer " + g.Key("acme")
			running := start(t, g.Client(cert), g.URL+"/tool/wait/call", "{}", asJSON, token)
			select {
			case <-began:
			case o := <-running:
				t.Fatalf("before: %+v", o)
			}
			bystander := g.Client(other)
			if !servertest.WaitFor(func() bool { return g.Metric("sangate_ocsp_answers_total", "result", "good") >= 1 }, 10*time.Second) {
				t.Fatal("not asked about")
			}
			responder.tell(cert.Leaf.SerialNumber.String(), true, false)
			if !servertest.WaitFor(func() bool { return g.Metric("sangate_ocsp_answers_total", "result", "revoked") == 1 }, 20*time.Second) {
				t.Fatal("not asked again")
			}
			select {
			case o := <-running:
				if o.err != nil {
					t.Fatal(o.err)
				}
				wantError(t, o.res, 401, "unauthorized")
			case <-time.After(second):
				t.Fatal("the call goes on")
			}
			before := g.By(handshakes, "result")
			if _, err := try(t, g.Client(cert), http.MethodGet, g.URL+"/tools", "", token); err == nil {
				t.Error("a handshake of the revoked certificate got through")
			}
			wantChange(t, g, handshakes, "result", before, map[string]float64{"revoked": 1})
			if res := ask(t, bystander, http.MethodGet, g.URL+"/tools", "", token); res.StatusCode != 200 {
				t.Errorf("another certificate: %s", res.Status)
			}
			// Another denylist leaves what is known of responders alone.
			g.Write("denied", nil)
			g.Configure(func(yaml string) string { return strings.Replace(yaml, "{ocsp:", "{denylist: denied, ocsp:", 1) })
			responder.tell("", false, true)
			if res := ask(t, bystander, http.MethodGet, g.URL+"/tools", "", token); res.StatusCode != 200 {
				t.Errorf("after another change of tls.revocation: %s", res.Status)
			}
		})
	}
}
