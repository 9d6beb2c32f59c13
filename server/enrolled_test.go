package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/stepca/steptest"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/servertest"
)

// enrolledConfig writes the configuration of a gate that gets its certificate
// from ca, and returns it with acme's key.
func enrolledConfig(t *testing.T, ca *steptest.CA, dir, url string) (file, key string) {
	t.Helper()
	key, id, err := apikey.Mint()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, "sangate.yaml")
	text := fmt.Sprintf(`
state: state
tls:
  stepCA: {url: "%s", fingerprint: %s, provisioner: %s, passwordFile: %s, sans: [localhost, 127.0.0.1]}
tenants:
  - id: acme
    sans: ["uri:spiffe://example.org/tenant/acme/*"]
    keys: [{id: %s, sha256: "%x"}]
`, url, ca.Fingerprint, steptest.Provisioner, ca.PasswordFile(), id, apikey.Digest(key))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, key
}

var gateLifetime = flag.Duration("lifetime", 5*time.Second, "of the gate's certificates in TestEnrolsAndRenews, which sees six of them: 2m takes seven minutes")

// The gate enrols by itself and renews, under load and without one failed
// request; clients that connect anew see each certificate. It trusts for clients
// whom its CA trusts.
func TestEnrolsAndRenews(t *testing.T) {
	const renewals = 5
	ca := steptest.Start(t, steptest.Options{Min: time.Second, Default: *gateLifetime})
	dir := t.TempDir()
	file, key := enrolledConfig(t, ca, dir, ca.URL)
	crt, ckey := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")
	ca.Step("ca", "certificate", "a", crt, ckey, "--ca-url", ca.URL, "--root", ca.RootFile, "--not-after", "1h",
		"--token", ca.Token("a", "spiffe://example.org/tenant/acme/a"))
	url := runGate(t, file)

	var serials sync.Map
	var seen, asked atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			c := stepClient(t, ca, crt, ckey)
			for {
				select {
				case <-stop:
					return
				default:
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/tools", nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+key)
				res, err := c.Do(req)
				if err != nil {
					t.Errorf("after %d requests: %v", asked.Load(), err)
					return
				}
				_ = res.Body.Close()
				if res.StatusCode != http.StatusOK {
					t.Errorf("after %d requests: %s", asked.Load(), res.Status)
					return
				}
				asked.Add(1)
				if _, known := serials.LoadOrStore(res.TLS.PeerCertificates[0].SerialNumber.String(), true); !known {
					seen.Add(1)
				}
				if i%2 == 0 { // the others keep their connection
					c.CloseIdleConnections()
				}
				time.Sleep(*gateLifetime / 10_000) // a long run leaves the machine usable
			}
		})
	}
	waitFor(t, time.Minute+renewals**gateLifetime, func() bool { return seen.Load() > renewals || t.Failed() })
	status, body := gateCertificates(t, stepClient(t, ca, crt, ckey), url, key)
	if status != http.StatusOK || len(body.Certificates) == 0 || !body.Certificates[0].NextRenewal.After(time.Now()) {
		t.Errorf("gate_certificates: %d %+v", status, body)
	}
	close(stop)
	clients.Wait()
	t.Logf("%d requests over %d certificates of %v, none failed: %v", asked.Load(), seen.Load(), *gateLifetime, !t.Failed())
}

// What was enrolled is on disk: with the CA gone, the gate starts at once.
func TestStartsWithoutItsCA(t *testing.T) {
	t.Parallel()
	ca := steptest.Start(t, steptest.Options{})
	dir := t.TempDir()
	file, key := enrolledConfig(t, ca, dir, ca.URL)
	crt, ckey := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")
	ca.Step("ca", "certificate", "a", crt, ckey, "--ca-url", ca.URL, "--root", ca.RootFile,
		"--token", ca.Token("a", "spiffe://example.org/tenant/acme/a"))
	var first string
	t.Run("with it", func(t *testing.T) {
		url := runGate(t, file)
		first = serial(t, stepClient(t, ca, crt, ckey), url, key)
	})
	ca.Stop()
	url := runGate(t, file)
	if again := serial(t, stepClient(t, ca, crt, ckey), url, key); again != first {
		t.Error("another certificate than the one that was stored")
	}
	if status, body := get(t, stepClient(t, ca, crt, ckey), url+"/tools", key); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
}

// Where the certificate comes from is changed while running, from files to
// step-ca, to another name, and, the CA gone, back.
func TestChangesItsOrigin(t *testing.T) {
	t.Parallel()
	ca := steptest.Start(t, steptest.Options{})
	g := servertest.Start(t, servertest.Options{})
	var before string
	stepCA := func(sans string) func(string) string {
		return func(yaml string) string {
			before = yaml
			return strings.Replace(yaml, "cert: server.crt, key: server.key", fmt.Sprintf(
				`stepCA: {url: "%s", fingerprint: %s, provisioner: %s, passwordFile: %s, sans: [localhost, %s]}`,
				ca.URL, ca.Fingerprint, steptest.Provisioner, ca.PasswordFile(), sans), 1)
		}
	}
	shown := func() *x509.Certificate { return shown(t, g) }
	g.Configure(stepCA("127.0.0.1"))
	files := before
	first := shown()
	if len(first.IPAddresses) != 1 || first.Issuer.CommonName == g.CA.Cert.Subject.CommonName {
		t.Fatalf("still shows a certificate of %s for %v", first.Issuer, first.IPAddresses)
	}
	if g.Metric("sangate_certificate_renewals_total", "result", "ok") != 1 {
		t.Error("the enrolment is not counted")
	}
	g.Configure(func(string) string { return stepCA("127.0.0.2")(files) })
	if !servertest.WaitFor(func() bool { ips := shown().IPAddresses; return len(ips) == 1 && ips[0].String() == "127.0.0.2" }, 10*time.Second) {
		t.Fatal("the new name was not enrolled for")
	}
	ca.Stop()
	g.Configure(func(string) string { return files })
	if !shown().Equal(readLeaf(t, filepath.Join(g.Dir, "server.crt"))) {
		t.Error("does not show the files' certificate")
	}
}

// shown is the certificate that the gate shows on a new connection.
func shown(t *testing.T, g *servertest.Gate) *x509.Certificate {
	t.Helper()
	conf := g.TLS(g.Cert("acme"))
	conf.InsecureSkipVerify = true // whose it is, is the question
	conn, err := tls.Dial("tcp", g.Addr, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

type gateCertificatesAnswer struct {
	Certificates []struct {
		Role        string
		NextRenewal time.Time
	}
}

func gateCertificates(t *testing.T, c *http.Client, url, key string) (status int, body gateCertificatesAnswer) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/tool/gate_certificates/call", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body
}
