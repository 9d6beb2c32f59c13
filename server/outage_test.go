package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/stepca/steptest"
)

// Alerts that are enough to know of every trouble below while the certificate
// still holds, and which of them fire. The tests evaluate them on what they
// scrape:
//
//	RenewalFails       increase(sangate_certificate_renewals_total{result="error"}[15m]) > 0
//	RenewalOverdue     time() - sangate_certificate_next_renewal_timestamp_seconds > 10
//	CertificateEnding  not_after - time() < (not_after - not_before) / 4, where these are
//	                   sangate_certificate_not_…_timestamp_seconds{role="server"}
//	CertificateEnded   sangate_certificate_not_after_timestamp_seconds{role="server"} < time()
//	ClientsRefused     increase(sangate_tls_handshakes_total{result=~"untrusted|no_certificate"}[15m]) > 0
//
//	CA down at start, nothing stored   RenewalFails, until it serves
//	the same, certificate stored       none; when renewal is due, as the next line
//	CA down past renewals              RenewalFails, then CertificateEnding, at last CertificateEnded
//	CA slow, but answers               none
//	CA never answers                   RenewalOverdue, then RenewalFails
//	CA gives another key's certificate RenewalFails
//	certificate ended before the start none with the CA up; RenewalFails with it down
//	roots rotate with overlap          none; ClientsRefused of those left behind
//
// The gate starts at once on what it has stored; with its CA down past three
// renewals it serves on, says so, and renews when the CA is back; with the CA
// down past the certificate's end it says that, and gets a new one without a
// restart.
//
// Holds: authority/ca-away
func TestCADownPastRenewals(t *testing.T) {
	t.Parallel()
	ca := steptest.Start(t, steptest.Options{Min: time.Second, Default: 20 * time.Second, NoBackdate: true})
	g := newEnrolledGate(t, ca, ca.URL)
	g.boot()
	g.serves()
	g.good()
	g.stop()
	ca.Stop()
	g.boot()
	g.serves()
	g.good()
	if g.waiting.seen.Load() != 0 {
		t.Error("it waits for the CA, with a certificate in store")
	}
	was := g.read()
	if alerts := was.firing(was); alerts != "" || was.next < was.time || was.next > was.notAfter {
		t.Errorf("at the start: %q fire; %v", alerts, was)
	}

	g.until("three renewals failed", func() bool { g.good(); return g.read().errors >= was.errors+3 })
	now := g.read()
	if now.firing(was) != "RenewalFails" || now.notAfter != was.notAfter || now.next-now.time > 2 {
		t.Errorf("CA down: %q fire; %v", now.firing(was), now)
	}
	if at := g.Metric("sangate_certificate_renewal_last_error_timestamp_seconds", "name", "server"); time.Since(time.Unix(int64(at), 0)) > time.Minute {
		t.Errorf("the last error is of %v", at)
	}
	if g.Metric("sangate_ca_roots_errors_total") == 0 {
		t.Error("that the roots could not be asked for is not counted")
	}
	t.Logf("three renewals failed: %v", now)
	ca.Start()
	g.until("renewed", func() bool { g.good(); return g.read().notAfter > was.notAfter })
	t.Logf("CA back: %v", g.read())

	ca.Stop()
	was = g.read()
	g.until("it is ending, and that is told", func() bool { g.good(); return strings.Contains(g.read().firing(was), "CertificateEnding") })
	if now := g.read(); now.firing(was) != "RenewalFails CertificateEnding" {
		t.Errorf("near the end: %q fire; %v", now.firing(was), now)
	}
	g.until("it has ended", func() bool { return strings.HasSuffix(g.read().firing(was), "CertificateEnded") })
	if status, _ := httpStatus(t, g.AdminURL+"/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d", status)
	}
	t.Logf("ended: %v", g.read())
	ca.Start()
	g.until("a new one", func() bool { return g.read().notAfter > was.notAfter })
	g.good()
	if status, body := httpStatus(t, g.AdminURL+"/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d %s", status, body)
	}
}

// Without a certificate in store the gate waits for its CA, says so, tries
// again and serves when the CA comes. One that has ended is none.
func TestCADownAtStart(t *testing.T) {
	t.Parallel()
	for name, stored := range map[string]bool{"nothing stored": false, "stored but ended": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := steptest.Start(t, steptest.Options{Min: time.Second, Default: 3 * time.Second, NoBackdate: true})
			g := newEnrolledGate(t, ca, ca.URL)
			if stored {
				g.boot()
				g.serves()
				end := time.Unix(int64(g.read().notAfter), 0)
				g.stop()
				g.until("it has ended", func() bool { return time.Now().After(end.Add(time.Second)) })
			}
			ca.Stop()
			g.boot()
			g.until("two attempts failed, and it said so", func() bool { return g.waiting.seen.Load() == 1 && g.failing.seen.Load() >= 2 })
			for path, want := range map[string]struct {
				status int
				says   string
			}{
				"/healthz": {200, `"ok"`},
				"/readyz":  {503, `"certificate":"it waits for its first certificate: `},
				"/metrics": {200, "sangate_certificate_renewals_total"},
				"/":        {503, "it waits for its first certificate: "},
			} {
				if status, body := get(t, http.DefaultClient, g.AdminURL+path, ""); status != want.status || !strings.Contains(body, want.says) || strings.HasSuffix(want.says, ": ") && !strings.Contains(body, "connection refused") {
					t.Errorf("%s while it waits: %d %s", path, status, body)
				}
			}
			if failed := g.By("sangate_certificate_renewals_total", "result")["error"]; failed < 2 {
				t.Errorf("%v attempts are counted while it waits", failed)
			}
			if _, err := g.agent.Get(g.URL + "/health"); err == nil {
				t.Error("it serves")
			}
			ca.Start()
			g.serves()
			g.good()
			if now := g.read(); now.firing(reading{errors: now.errors}) != "" || now.ok < 1 || now.errors < 2 {
				t.Errorf("%q fire; %v", now.firing(reading{errors: now.errors}), now)
			}
			if status, body := get(t, http.DefaultClient, g.AdminURL+"/readyz", ""); status != 200 || strings.Contains(body, "fails") {
				t.Errorf("/readyz afterwards: %d %s", status, body)
			}
		})
	}
}

// With the CA up, a certificate that ended while the gate was off costs an
// enrolment and nothing else.
func TestCertificateEndedBeforeStart(t *testing.T) {
	t.Parallel()
	ca := steptest.Start(t, steptest.Options{Min: time.Second, Default: 3 * time.Second, NoBackdate: true})
	g := newEnrolledGate(t, ca, ca.URL)
	g.boot()
	g.serves()
	ended := g.read()
	g.stop()
	g.until("it has ended", func() bool { return float64(time.Now().Unix()) > ended.notAfter })
	g.boot()
	g.serves()
	g.good()
	if now := g.read(); now.notAfter <= ended.notAfter || now.errors != 0 || now.firing(reading{}) != "" {
		t.Errorf("%q fire; %v", now.firing(reading{}), now)
	}
}

// httpStatus is what the admin listener answers.
func httpStatus(t *testing.T, url string) (int, string) {
	t.Helper()
	return get(t, http.DefaultClient, url, "")
}
