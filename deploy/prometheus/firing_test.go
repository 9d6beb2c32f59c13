package prometheus_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/pki/stepca/steptest"
	"github.com/sangate/sangate/server/servertest"
)

const day = 24 * time.Hour

// A gate of the test, and one of its clients.
type gate struct {
	*servertest.Gate
	t      *testing.T
	client *http.Client
}

func startGate(t *testing.T, opts servertest.Options) *gate {
	t.Helper()
	g := &gate{Gate: servertest.Start(t, opts), t: t}
	g.client = g.Client(g.Cert("acme"))
	return g
}

// clientCA has its CA be one that has lasted, and lasts.
func (g *gate) clientCA(age, left time.Duration) {
	g.t.Helper()
	g.Change("certificate", func() { g.Write("ca.crt", g.authority(age, left)) })
}

func (g *gate) authority(age, left time.Duration) []byte {
	return g.CA.Sibling(g.t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(-age), time.Now().Add(left) }).PEM()
}

func (g *gate) serve(l pkitest.Leaf) {
	g.t.Helper()
	l.DNS = []string{"localhost"}
	c := g.CA.Issue(g.t, l)
	g.Change("certificate", func() { g.Write("server.crt", c.CertPEM()); g.Write("server.key", c.KeyPEM(g.t)) })
}

// list writes a revocation list of its CA that ends soon.
func (g *gate) list(life time.Duration) {
	g.t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute),
		NextUpdate: time.Now().Add(life)}, g.CA.Cert, g.CA.Key())
	if err != nil {
		g.t.Fatal(err)
	}
	g.Write("list.crl", der)
}

// execute changes its state database by hand.
func (g *gate) execute(statement string) {
	g.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(g.Dir, "state", "sangate.db")+"?_pragma=busy_timeout(10000)")
	if err == nil {
		_, err = db.Exec(statement)
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// call calls a tool by a key, and tells what came of it.
func (g *gate) call(tool, key string) int {
	return g.post("/tool/"+tool+"/call", `{"message":"m"}`, key)
}

// prompt gets a prompt over MCP.
func (g *gate) prompt(name, key string) int {
	return g.post("/mcp", `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"`+name+`"}}`, key)
}

func (g *gate) post(path, body, key string) int {
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, g.URL+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := g.client.Do(req)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// upstream is another server of tools; it takes connections until stopped.
func upstream(t *testing.T) *httptest.Server {
	t.Helper()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/tools" {
			fmt.Fprint(w, `[{"name":"look","description":"Looks.","inputSchema":{"type":"object"}}]`)
			return
		}
		fmt.Fprint(w, `{"seen":true}`)
	}))
	t.Cleanup(up.Close)
	return up
}

func withUpstream(yaml, url, more string) string {
	yaml = strings.ReplaceAll(yaml, "    keys:", "    tools: {allow: [echo, look, other_look, draft]}\n    keys:")
	return yaml + fmt.Sprintf("egress: {allow: [127.0.0.0/8]}\nmcpServers:\n  - {name: up, baseUrl: %q, protocol: octopus}\n%s", url, more)
}

// Every alert fires for a real fault of a real gate, told by the real Prometheus
// through the real Alertmanager, and none for a gate beside it that is well.
func TestAlertsFire(t *testing.T) {
	var issuers [3]*servertest.Issuer
	for i := range issuers {
		issuers[i] = servertest.NewIssuer(t)
	}
	// What is well, with all there is to a gate.
	wellUp := upstream(t)
	well := startGate(t, servertest.Options{Files: map[string]string{"denylist": ""}, Config: func(yaml string) string {
		yaml = strings.Replace(yaml, "clientCA:", "revocation: {denylist: denylist}, clientCA:", 1)
		return withUpstream(yaml, wellUp.URL, "") + strings.Replace(issuers[0].Config(), "egress: {allow: [127.0.0.0/8]}\n", "", 1)
	}})
	well.clientCA(day, 3650*day)

	// What breaks.
	badUp := upstream(t)
	bad := startGate(t, servertest.Options{Config: func(yaml string) string {
		return withUpstream(yaml, badUp.URL, "  - {name: other, baseUrl: \""+wellUp.URL+"\", protocol: octopus, prefix: other_, credentialId: 99}\n") + "audit: {file: /dev/full}\ncredentials: {files: .}\n" +
			strings.NewReplacer("egress: {allow: [127.0.0.0/8]}\n", "", issuers[1].URL, "https://127.0.0.1:1").Replace(issuers[1].Config())
	}})
	bad.clientCA(300*day, 20*day)
	bad.serve(pkitest.Leaf{NotBefore: time.Now().Add(-80 * day), NotAfter: time.Now().Add(10 * day)})

	// One whose issuer has not answered for five hours.
	var behind atomic.Bool
	behind.Store(true)
	stale := startGate(t, servertest.Options{Now: func() time.Time {
		if behind.Load() {
			return time.Now().Add(-5 * time.Hour)
		}
		return time.Now()
	}, Config: func(yaml string) string { return yaml + issuers[2].Config() }})
	stale.clientCA(day, 3650*day)
	stale.serve(pkitest.Leaf{NotBefore: time.Now().Add(-80 * day), NotAfter: time.Now().Add(day)})
	if !servertest.WaitFor(func() bool { return stale.Metric("sangate_jwks_last_success_timestamp_seconds") > 0 }, 10*time.Second) {
		t.Fatal("the keys do not come")
	}
	issuers[2].Answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	behind.Store(false)

	gone := startGate(t, servertest.Options{})
	gone.clientCA(day, 3650*day)

	// One that is to learn of revocation, and does not; and whose CAs live for a day.
	blind := startGate(t, servertest.Options{Config: func(yaml string) string {
		return strings.Replace(yaml, "clientCA:", "revocation: {crl: [list.crl, none.crl], crlMode: soft, ocsp: hard, ocspResponder: \"http://127.0.0.1:1\"}, clientCA:", 1)
	}})
	blind.clientCA(22*time.Hour, 2*time.Hour)
	blind.Change("certificate", func() { blind.list(time.Hour) })

	ca := steptest.Start(t, steptest.Options{Min: time.Second, Default: 25 * time.Second, NoBackdate: true})
	enrolled := startGate(t, servertest.Options{Config: func(yaml string) string {
		return strings.Replace(yaml, "{cert: server.crt, key: server.key, clientCA: [ca.crt]}", fmt.Sprintf(
			"{stepCA: {url: %q, fingerprint: %s, provisioner: %s, passwordFile: %s, sans: [127.0.0.1]}}", ca.URL, ca.Fingerprint, steptest.Provisioner, ca.PasswordFile()), 1)
	}})

	w := startWatch(t, map[string]string{"well": well.AdminURL, "bad": bad.AdminURL, "stale": stale.AdminURL, "gone": gone.AdminURL, "enrolled": enrolled.AdminURL, "blind": blind.AdminURL})
	nobody := startWatch(t, nil)
	w.until("each gate was scraped in peace, which the refusals are compared with", 30*time.Second, func() bool {
		return len(w.query("sum_over_time(up[30s]) >= 3")) == 6
	})

	ca.Stop()
	gone.Stop()
	badUp.CloseClientConnections()
	badUp.Close()
	bad.client.CloseIdleConnections()
	bad.call("echo", bad.Key("acme")) // a connection that is there when its CA goes
	bad.Change("certificate", func() { bad.Write("ca.crt", pkitest.NewCA(t, "another").PEM()) })
	w.until("the dropped CA is told", 20*time.Second, func() bool { return w.has(alert{"SangateTrustAnchorDropped", "bad"}) })
	bad.Change("certificate", func() { bad.Write("ca.crt", bad.authority(300*day, 20*day)) })
	bad.list(5 * time.Second)
	bad.Configure(func(yaml string) string {
		return strings.Replace(yaml, "clientCA:", "revocation: {crl: [list.crl], crlMode: soft}, clientCA:", 1)
	})
	blind.Write("list.crl", []byte("not a list\n"))
	bad.Write("server.crt", []byte("not a certificate\n"))
	config := mustRead(t, filepath.Join(bad.Dir, "sangate.yaml"))
	bad.Write("sangate.yaml", bytes.Replace(config, []byte("tenants:"), []byte("tennants:"), 1))

	bad.execute("UPDATE state_generation SET generation = 0")
	if err := errors.Join(os.Remove(filepath.Join(blind.Dir, "state", "highwater.json.lock")),
		os.Mkdir(filepath.Join(blind.Dir, "state", "highwater.json.lock"), 0o700)); err != nil {
		t.Fatal(err)
	}
	blind.execute("UPDATE state_generation SET generation = generation + 1")

	want := []alert{
		{"SangateStateBehind", "bad"}, {"SangateStateMarkStale", "blind"},
		{"SangateCertificateExpired", "enrolled"}, {"SangateCertificateNotRenewed", "enrolled"}, {"SangateRenewalFailing", "enrolled"}, {"SangateCARootsFailing", "enrolled"},
		{"SangateCertificateEndsSoon", "bad"}, {"SangateCertificateEndsSoon", "stale"}, {"SangateCertificateAboutToEnd", "stale"},
		{"SangateClientCAEndsSoon", "bad"}, {"SangateClientCANotRotated", "blind"}, {"SangateTrustAnchorDropped", "bad"},
		{"SangateRevocationListStale", "bad"}, {"SangateRevocationListMissing", "blind"}, {"SangateRevocationListNotRefreshed", "blind"}, {"SangateOCSPFailing", "blind"},
		{"SangateConfigReloadFailing", "bad"}, {"SangateCertificateReloadFailing", "bad"},
		{"SangateHandshakesRefused", ""}, {"SangateRequestsRefused", ""}, {"SangateMostRequestsRefused", "bad"}, {"SangateTenantMismatch", "bad"},
		{"SangateKeySetStale", "stale"}, {"SangateKeySetMissing", "bad"},
		{"SangateDown", "gone"}, {"SangateUpstreamDown", "bad"}, {"SangateCredentialsFailing", "bad"}, {"SangateAuditFailing", "bad"},
		{"SangateErrorBudgetBurnsFast", ""}, {"SangateErrorBudgetBurns", ""},
	}
	all := rulesOf(t)
	var missing []alert
	w.until("every alert fires", 3*time.Minute, func() bool {
		well.call("echo", well.Key("acme"))
		well.call("look", well.Key("acme"))
		bad.call("echo", "")
		bad.call("look", bad.Key("acme"))
		bad.call("echo", bad.Key("globex"))
		stranger := bad.Client(pkitest.NewCA(t, "stranger").Issue(t, pkitest.Leaf{}))
		if res, err := stranger.Get(bad.URL + "/health"); err == nil {
			_ = res.Body.Close()
		}
		enrolled.Server.Reload() // asks for the roots at once
		stale.Server.Reload()    // for the keys
		blind.Server.Reload()    // and for the lists
		unknown := blind.Client(blind.Cert("acme"))
		unknown.Timeout = 100 * time.Millisecond // its handshake waits longer for the responder
		if res, err := unknown.Get(blind.URL + "/health"); err == nil {
			_ = res.Body.Close()
			t.Error("ocsp: hard let somebody in unasked")
		}
		bad.Server.Reload()
		missing = missing[:0]
		for _, a := range want {
			if !w.has(a) {
				missing = append(missing, a)
			}
		}
		time.Sleep(200 * time.Millisecond) // so often it is asked
		return len(missing) == 0
	}, func() string { return fmt.Sprint(missing) })
	absent := alert{"SangateAbsent", ""}
	nobody.until("Prometheus misses the gates", 20*time.Second, func() bool { return nobody.has(absent) })
	for _, a := range append(want, absent) {
		delete(all, a.name)
	}
	for name := range all {
		t.Errorf("%s: nobody has seen it fire", name)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for a := range w.fired {
		if !slices.Contains(want, a) && a != absent { // and so none of the gate that is well; before the first scrape all are absent
			t.Errorf("%s fires for the gate %q", a.name, a.instance)
		}
	}
}
