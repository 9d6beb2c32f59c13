package doctor_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sangate/sangate/docs"
	"github.com/sangate/sangate/server/doctor"
	"github.com/sangate/sangate/server/servertest"
)

// unsent is what no client sends, or no gate takes, or what it does not refuse.
var unsent = []string{"a line break", "a line break in the header", "a token of more than 8 KiB", "a key that TLS has no use for",
	"server certificate too young", "a tool that the tenant has not"}

// shown is what its page says that the gate shows; "" where that is nothing.
func (s *setup) shown() string {
	if reason, ok := alike[s.name]; ok {
		return reason
	}
	entry, _ := docs.Reason(s.finding)
	if found := regexp.MustCompile(`(?:result|reason)="(\w+)"`).FindStringSubmatch(entry.Gate); found != nil {
		return found[1]
	}
	return ""
}

// Of each broken client that comes as far as the gate, the console shows in its
// first line who it is, why it was refused, and what to do: while one looks.
func TestConsoleNamesTheCause(t *testing.T) {
	w := newWorld(t)
	b := servertest.NewBrowser(t)
	b.Do("open", "url", w.AdminURL+"/refusals")
	walked := 0
	for _, set := range broken {
		reason := set.shown()
		if reason == "" || slices.Contains(unsent, set.name) {
			continue
		}
		walked++
		t.Run(set.name, func(t *testing.T) {
			w := &world{t, w.Gate, w.issuer, w.inter, t.TempDir()}
			o := w.client()
			defer set.by(w, o)()
			from := w.ask(o)
			b.Do("wait", "selector", "main tbody tr:first-child", "text", from)
			shown := b.Do("text", "selector", "main tbody tr:first-child").Text
			entry, _ := docs.Reason(reason)
			first, _, _ := strings.Cut(strings.ReplaceAll(entry.Do, "`", ""), ".")
			if !strings.Contains(shown, reason) || !strings.Contains(shown, first) {
				t.Errorf("it should name %s, and say %q; it says\n%s", reason, first, shown)
			}
		})
	}
	if walked < 25 {
		t.Errorf("%d broken clients only", walked)
	}
}

// ask asks for the tools as any client does, and returns the address it came from.
func (w *world) ask(o *doctor.Options) (from string) {
	w.Helper()
	from, status := w.send(o)
	if status == http.StatusOK {
		w.Error("it is let in")
	}
	return from
}

// send asks as o does, and returns from which address, and the answer's status; 0: none.
func (w *world) send(o *doctor.Options) (from string, status int) {
	w.Helper()
	tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: o.MaxVersion}}
	tr.TLSClientConfig.RootCAs = trusted(w, o)
	if o.Files.Cert != "" {
		cert, err := o.Files.LoadCertificate()
		if err != nil {
			w.Fatal(err)
		}
		tr.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			from = conn.LocalAddr().String()
		}
		return conn, err
	}
	req, err := http.NewRequestWithContext(w.Context(), http.MethodGet, o.URL+"/tools", nil)
	if err != nil {
		w.Fatal(err)
	}
	if o.Token != nil {
		req.Header.Set("Authorization", "Bearer "+*o.Token)
	}
	if o.TenantHeader != nil {
		req.Header.Set("X-Octopus-Tenant-Id", *o.TenantHeader)
	}
	if res, err := tr.RoundTrip(req); err == nil {
		_ = res.Body.Close()
		status = res.StatusCode
	}
	return from, status
}
