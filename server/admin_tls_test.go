package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server"
	"github.com/sangate/sangate/server/servertest"
)

// An adminGate is a gate whose admin listener has a certificate of its own and
// lets in whom the CA ops vouches for.
type adminGate struct {
	*servertest.Gate
	ops   *pkitest.CA
	url   string       // of the admin listener, over TLS
	ahead atomic.Int64 // the gate's clock
}

func newAdminGate(t *testing.T, adminTLS string, log io.Writer) *adminGate {
	t.Helper()
	g := &adminGate{ops: pkitest.NewCA(t, "Operations")}
	dir := t.TempDir()
	g.ops.Issue(t, pkitest.Leaf{DNS: []string{"admin.internal"}}).Write(t, dir, "admin")
	files := map[string]string{"ops.crt": string(g.ops.PEM())}
	for _, name := range []string{"admin.crt", "admin.key"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(data)
	}
	g.Gate = servertest.Start(t, servertest.Options{Files: files, Log: log, Config: func(yaml string) string { return yaml + adminTLS },
		Now: func() time.Time { return time.Now().Add(time.Duration(g.ahead.Load())) }})
	g.url = strings.Replace(g.AdminURL, "http:", "https:", 1)
	return g
}

// scraper asks the admin listener over TLS, as admin.internal unless told
// otherwise, with a certificate or without, on connections that it keeps.
func (g *adminGate) scraper(t *testing.T, roots *pkitest.CA, cert *pkitest.Cert, name ...string) *http.Client {
	conf := &tls.Config{RootCAs: roots.Pool(), ServerName: "admin.internal"}
	if len(name) > 0 {
		conf.ServerName = name[0]
	}
	if cert != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert.TLS, nil }
	}
	tr := &http.Transport{TLSClientConfig: conf}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

// edit changes the configuration, and does not wait.
func (g *adminGate) edit(t *testing.T, edit func(yaml string) string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(g.Dir, "sangate.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	g.Write("sangate.yaml", []byte(edit(string(text))))
	g.Server.Reload()
}

// operator issues a certificate for who may look, until then or an hour.
func (g *adminGate) operator(t *testing.T, until time.Time) *pkitest.Cert {
	return g.ops.Issue(t, pkitest.Leaf{DNS: []string{"prometheus.internal"}, NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// comes waits until a client is answered so; 0: its handshake is refused.
func (g *adminGate) comes(t *testing.T, what string, c *http.Client, want int) {
	t.Helper()
	var status int
	if !servertest.WaitFor(func() bool { status, _ = get(t, c, g.url+"/metrics", ""); return status == want }, 5*time.Second) {
		t.Errorf("%s: %d, want %d", what, status, want)
	}
}

const opsOnly = "adminTLS: {cert: admin.crt, key: admin.key, clientCA: [ops.crt]}\n"

// Who shows a good certificate gets in, nobody else.
func TestAdminTLS(t *testing.T) {
	t.Parallel()
	g := newAdminGate(t, opsOnly, nil)
	good := g.scraper(t, g.ops, g.operator(t, time.Time{}))
	if status, body := get(t, good, g.url+"/metrics", ""); status != 200 || !strings.Contains(body, `sangate_certificate_not_after_timestamp_seconds{name="admin",role="admin"}`) {
		t.Errorf("%d; or its certificate is not among those to look after", status)
	}
	for what, c := range map[string]*http.Client{
		"no certificate": g.scraper(t, g.ops, nil),
		"another CA's":   g.scraper(t, g.ops, pkitest.NewCA(t, "Others").Issue(t, pkitest.Leaf{DNS: []string{"prometheus.internal"}})),
		"a tenant's":     g.scraper(t, g.ops, g.Cert("acme")),
		"a server's":     g.scraper(t, g.ops, g.ops.Issue(t, pkitest.Leaf{DNS: []string{"x"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})),
	} {
		if status, body := get(t, c, g.url+"/metrics", ""); status != 0 || !strings.Contains(body, "tls: ") {
			t.Errorf("%s: %d %s", what, status, body)
		}
	}
	if status, body := get(t, http.DefaultClient, g.AdminURL+"/metrics", ""); status != 400 || strings.Contains(body, "sangate_") {
		t.Errorf("plain HTTP: %d %s", status, body)
	}
	for host, want := range map[string]int{"admin.internal": 200, "127.0.0.1": 200, "evil.example": 403} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		res, err := good.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _ = res.Body.Close(); res.StatusCode != want {
			t.Errorf("Host %s: %d", host, res.StatusCode)
		}
	}
}

// A connection proves nothing about now, nor does a view that is followed.
func TestAdminTLSNow(t *testing.T) {
	g := newAdminGate(t, opsOnly, nil)
	short := g.scraper(t, g.ops, g.operator(t, time.Now().Add(2*time.Second)))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/live?view=/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := short.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	view := bufio.NewReader(res.Body)
	if line, err := view.ReadString('\n'); res.StatusCode != 200 || err != nil {
		t.Fatalf("%s %q %v", res.Status, line, err)
	}
	began := time.Now()
	if _, _ = io.Copy(io.Discard, view); time.Since(began) > 5*time.Second {
		t.Errorf("the view was followed for %s by a certificate that lasts 2 s", time.Since(began))
	}

	good := g.scraper(t, g.ops, g.operator(t, time.Time{}))
	g.comes(t, "in time", good, 200)
	g.Write("denylist", []byte("san:dns:taken-back.internal\n"))
	other := g.scraper(t, g.ops, g.ops.Issue(t, pkitest.Leaf{DNS: []string{"taken-back.internal"}}))
	g.comes(t, "who is on no list", other, 200)
	g.edit(t, func(yaml string) string {
		return strings.Replace(yaml, "clientCA: [ca.crt]", "clientCA: [ca.crt], revocation: {denylist: denylist}", 1)
	})
	g.comes(t, "on an open connection, denied since", other, 401)
	g.comes(t, "in time still", good, 200)
	g.ahead.Store(int64(2 * time.Hour))
	if status, body := get(t, good, g.url+"/metrics", ""); status != 401 || strings.Contains(body, "sangate_") {
		t.Errorf("on an open connection, with a certificate that has ended: %d %s", status, body)
	}
}

// Files and configuration are taken up while it serves; what does not load
// changes nothing and is told.
func TestAdminTLSReloads(t *testing.T) {
	t.Parallel()
	log := &lookout{phrase: "certificates not reloaded"}
	g := newAdminGate(t, "", log)
	others, client := pkitest.NewCA(t, "Others"), g.operator(t, time.Time{})
	configure := func(adminTLS string) {
		t.Helper()
		g.edit(t, func(yaml string) string {
			before, _, _ := strings.Cut(yaml, "adminTLS:")
			return before + adminTLS
		})
	}
	before := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(before.CloseIdleConnections)
	if status, _ := get(t, before, g.AdminURL+"/metrics", ""); status != 200 {
		t.Fatalf("plain HTTP at first: %d", status)
	}
	configure(opsOnly)
	kept := g.scraper(t, g.ops, client)
	g.comes(t, "TLS now", kept, 200)
	if status, body := get(t, before, g.AdminURL+"/metrics", ""); status != 401 || strings.Contains(body, "sangate_") {
		t.Errorf("on a connection from before: %d %s", status, body)
	}

	g.Write("admin.crt", []byte("-----BEGIN CERTIFICATE-----\n"))
	g.Server.Reload()
	if !servertest.WaitFor(func() bool { return log.seen.Load() > 0 }, 5*time.Second) {
		t.Error("a torn certificate is not told")
	}
	g.comes(t, "with a torn certificate on disk", g.scraper(t, g.ops, client), 200)
	others.Issue(t, pkitest.Leaf{DNS: []string{"admin.internal"}}).Write(t, g.Dir, "admin")
	g.comes(t, "with another certificate", g.scraper(t, others, client), 200)
	g.Write("ops.crt", others.PEM())
	g.comes(t, "on an open connection, by a CA that was taken away", kept, 401)

	configure("adminTLS: {}\n")
	g.comes(t, "by the gate's own certificate", g.scraper(t, g.CA, nil, "localhost"), 200)
	configure("")
	if !servertest.WaitFor(func() bool { status, _ := get(t, http.DefaultClient, g.AdminURL+"/metrics", ""); return status == 200 }, 5*time.Second) {
		t.Error("not plain HTTP again")
	}
}

// While a gate waits for its first certificate, probes that do not verify find it
// alive under adminTLS, too, and nobody who verifies is shown anything. That its
// address is taken it says at once.
func TestAdminTLSBeforeTheFirstCertificate(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "sangate.yaml")
	write := func(listen string) {
		t.Helper()
		config := fmt.Sprintf("listen: %s\nstate: state\nadminTLS: {}\ntls: {stepCA: {url: \"https://127.0.0.1:1\", fingerprint: %064d, provisioner: p, tokenFile: token, sans: [gate.internal]}}\n"+
			"tenants: [{id: acme, sans: [\"dns:acme.internal\"]}]\n", listen, 0)
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	write(taken.Addr().String())
	soon, done := context.WithTimeout(t.Context(), 20*time.Second) // where it is not seen, the certificate is waited for
	defer done()
	if _, err := server.New(soon, server.Options{ConfigFile: file, Overrides: []string{"admin=127.0.0.1:0"}}); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Fatalf("the address is taken: %v", err)
	}

	write("127.0.0.1:0")
	admin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := server.New(ctx, server.Options{ConfigFile: file, AdminListener: admin})
		ended <- err
	}()
	url := "https://" + admin.Addr().String()
	probe := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/": 503} {
		if status, body := get(t, probe, url+path, ""); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, body := get(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, url+"/healthz", ""); status != 0 || !strings.Contains(body, "x509: ") {
		t.Errorf("to a client that verifies: %d %s", status, body)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("a start that was ended has made a gate")
	}
}
