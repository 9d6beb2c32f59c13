package doctor_test

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sangate/sangate/pki/pkitest"
)

// A recorder answers as a gate does, and keeps what it was sent for Authorization.
type recorder struct {
	*httptest.Server
	metadata func(http.ResponseWriter)
	mu       sync.Mutex
	sent     []string
	hosts    []string
}

// record starts one; cert is what it shows on its nth connection, from 0.
func record(t *testing.T, cert func(n int) *pkitest.Cert) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return recordOn(t, l, cert)
}

func recordOn(t *testing.T, l net.Listener, cert func(n int) *pkitest.Cert) *recorder {
	t.Helper()
	r := &recorder{metadata: func(w http.ResponseWriter) { _, _ = io.WriteString(w, "{}") }}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.sent = append(r.sent, req.Header["Authorization"]...)
		r.hosts = append(r.hosts, req.Host)
		r.mu.Unlock()
		w.Header().Set("X-Request-Id", "1")
		switch req.URL.Path {
		case "/health":
			_, _ = io.WriteString(w, `{"status":"ok"}`)
		case "/tools":
			_, _ = io.WriteString(w, "[]")
		default:
			r.metadata(w)
		}
	}))
	_ = r.Listener.Close()
	r.Listener = l
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	var n atomic.Int32
	r.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{ClientAuth: tls.RequestClientCert, Certificates: []tls.Certificate{cert(int(n.Add(1)) - 1).TLS}}, nil
	}}
	r.StartTLS()
	t.Cleanup(r.Close)
	return r
}

// The token goes to a server that has proven itself, on the connection that it goes
// over, and to no other.
func TestTokenOnlyToTheProven(t *testing.T) {
	w := newWorld(t)
	good := w.CA.Issue(t, pkitest.Leaf{IPs: here})
	untrusted := pkitest.NewCA(t, "Test CA").Issue(t, pkitest.Leaf{IPs: here})
	named := w.CA.Issue(t, pkitest.Leaf{DNS: []string{"else.example"}})
	ended := w.CA.Issue(t, pkitest.Leaf{IPs: here, NotBefore: ago(2), NotAfter: ago(1)})
	for _, tt := range []struct {
		name    string
		shows   []*pkitest.Cert // the last from then on
		finding string
		sent    bool
	}{
		{"good", []*pkitest.Cert{good}, "", true},
		{"another root", []*pkitest.Cert{untrusted}, "server_untrusted", false},
		{"another name", []*pkitest.Cert{named}, "server_name", false},
		{"over", []*pkitest.Cert{ended}, "server_expired", false},
		{"good, then another root", []*pkitest.Cert{good, untrusted}, "server_untrusted", false},
		{"good twice, then another root", []*pkitest.Cert{good, good, untrusted}, "server_untrusted", false},
		{"good twice, then another name", []*pkitest.Cert{good, good, named}, "server_untrusted", false},
		{"good twice, then over", []*pkitest.Cert{good, good, ended}, "server_untrusted", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := record(t, func(n int) *pkitest.Cert { return tt.shows[min(n, len(tt.shows)-1)] })
			o := w.client()
			o.URL = r.URL
			report := w.examine(o)
			if report.Finding != tt.finding {
				t.Errorf("found %q, want %q\n%s", report.Finding, tt.finding, told(report))
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if tt.sent != slices.Contains(r.sent, "Bearer "+*o.Token) || !tt.sent && len(r.sent) > 0 {
				t.Errorf("sent: %q", r.sent)
			}
		})
	}
}
