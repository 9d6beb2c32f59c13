package server_test

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/stepca/steptest"
	"github.com/sangate/sangate/server/servertest"
)

// wantSeries waits until metrics have a series of a name, or have none.
func wantSeries(t *testing.T, g *servertest.Gate, want bool, label, value string, metrics ...string) {
	t.Helper()
	for _, metric := range metrics {
		if _, has := g.By(metric, label)[value]; has != want {
			t.Errorf("%s{%s=%q}: %v, want %v", metric, label, value, has, want)
		}
	}
}

// Each list that is configured has its series from the start, held or not; what the
// configuration no longer names has none, so that no alert is about it.
func TestSeriesOfWhatIsGone(t *testing.T) {
	t.Parallel()
	i := servertest.NewIssuer(t)
	g := servertest.Start(t, servertest.Options{Files: map[string]string{"denylist": ""}, Config: func(yaml string) string {
		return strings.Replace(yaml, "clientCA:", "revocation: {crl: [list.crl, other.crl], crlMode: hard, denylist: denylist}, clientCA:", 1) + i.Config() +
			"mcpServers: [{name: up, baseUrl: \"http://127.0.0.1:1\"}]\n"
	}})
	list, other := g.Dir+"/list.crl", g.Dir+"/other.crl"
	held := []string{"sangate_crl_next_update_timestamp_seconds", "sangate_crl_entries"}
	counted := []string{"sangate_crl_updates_total", "sangate_revocations_total"}
	for _, name := range []string{list, other} {
		wantSeries(t, g, true, "name", name, append(held, counted...)...)
		if at := g.Metric(held[0], "name", name); at != 0 {
			t.Errorf("%s ends at %v, and is not there", name, at)
		}
		for _, result := range []string{"ok", "unchanged", "stale", "refused", "error"} {
			g.Metric("sangate_crl_updates_total", "name", name, "result", result)
		}
	}
	end := time.Now().Add(time.Hour)
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: end}, g.CA.Cert, g.CA.Key())
	if err != nil {
		t.Fatal(err)
	}
	g.Change("certificate", func() { g.Write("list.crl", der) })
	if at := g.Metric(held[0], "name", list); at != float64(end.Unix()) {
		t.Errorf("the list ends at %v", at)
	}

	keys := []string{"sangate_jwks_last_success_timestamp_seconds", "sangate_jwks_refreshes_total"}
	servers := []string{"sangate_upstream_up", "sangate_upstream_request_duration_seconds_count"}
	wantSeries(t, g, true, "issuer", "test", keys...)
	wantSeries(t, g, true, "server", "up", servers...)
	g.Configure(func(yaml string) string {
		yaml, _, _ = strings.Cut(yaml, "mcpServers:")
		yaml, _, _ = strings.Cut(yaml, "issuers:")
		return strings.Replace(yaml, "revocation: {crl: [list.crl, other.crl], crlMode: hard, denylist: denylist}", "revocation: {crl: [list.crl]}", 1)
	})
	wantSeries(t, g, true, "name", list, append(held, counted...)...)
	wantSeries(t, g, false, "name", other, append(held, counted...)...)
	wantSeries(t, g, false, "name", g.Dir+"/denylist", "sangate_revocations_total")
	wantSeries(t, g, false, "issuer", "test", keys...)
	wantSeries(t, g, false, "server", "up", servers...)
}

// A gate that has its certificate from files plans no renewal, whatever it did before.
// One that is to renew late is told that alerts will come first.
func TestNoRenewalOfFiles(t *testing.T) {
	t.Parallel()
	ca := steptest.Start(t, steptest.Options{})
	const files = "{cert: server.crt, key: server.key, clientCA: [ca.crt]}"
	enrolled := fmt.Sprintf("{stepCA: {url: %q, fingerprint: %s, provisioner: %s, passwordFile: %s, sans: [127.0.0.1], renewAt: 0.9}, clientCA: [ca.crt]}",
		ca.URL, ca.Fingerprint, steptest.Provisioner, ca.PasswordFile())
	var log safeLog
	g := servertest.Start(t, servertest.Options{Log: &log, Config: func(yaml string) string { return strings.Replace(yaml, files, enrolled, 1) }})
	if !strings.Contains(log.String(), "renewAt 0.9 is late") {
		t.Error("nothing is said of renewAt")
	}
	const planned = "sangate_certificate_next_renewal_timestamp_seconds"
	if !servertest.WaitFor(func() bool { return len(g.By(planned, "name")) == 1 }, 10*time.Second) {
		t.Fatal("no renewal is planned")
	}
	g.Configure(func(yaml string) string { return strings.Replace(yaml, enrolled, files, 1) })
	wantSeries(t, g, false, "name", "server", planned)
}
