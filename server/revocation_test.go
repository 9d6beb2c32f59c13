package server_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/inspect"
	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/pki/stepca/steptest"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

func withDenylist(yaml string) string {
	return strings.Replace(yaml, "clientCA:", "revocation: {denylist: ca.crt.denied}, clientCA:", 1)
}

// A line of the denylist ends what it names at once, and nobody else; taking it
// out lets the holder in again; a line that cannot be read changes nothing.
//
// Holds: client/revoked-certificate
func TestDenylist(t *testing.T) {
	t.Parallel()
	wait, began, release := waiting(t)
	defer close(release)
	g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{wait}})
	g.Write("ca.crt.denied", []byte("# nobody\n"))
	g.Configure(withDenylist)
	cert, other := g.Cert("acme"), g.CA.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/other"}})
	report := inspectLeaf(t, cert)
	token := "Authorization: Bearer " + g.Key("acme")
	refused := 0.0
	for name, line := range map[string]string{
		"certificate": "sha256:" + report.Fingerprints.SHA256,
		"key":         "spki:" + strings.ToUpper(report.Fingerprints.SPKISHA256),
		"serial":      "serial:" + report.Serial,
		"issuer":      fmt.Sprintf("serial:%s@%s", report.Serial, hex.EncodeToString(cert.Leaf.AuthorityKeyId)),
		"name":        "san:uri:spiffe://example.org/tenant/acme/agent*",
	} {
		t.Run(name, func(t *testing.T) {
			if name == "name" {
				line = "san:uri:" + cert.Leaf.URIs[0].String()
			}
			running := start(t, g.Client(cert), g.URL+"/tool/wait/call", "{}", asJSON, token)
			select {
			case <-began:
			case o := <-running:
				t.Fatalf("before: %+v", o)
			}
			bystander := g.Client(other)
			before, shaken := g.By(decisions, "reason"), g.By(handshakes, "result")
			g.Change("certificate", func() { g.Write("ca.crt.denied", []byte(line+"\n")) })
			select {
			case o := <-running:
				if o.err != nil {
					t.Fatal(o.err)
				}
				wantError(t, o.res, 401, "unauthorized")
			case <-time.After(second):
				t.Fatal("the call goes on")
			}
			wantChange(t, g, decisions, "reason", before, map[string]float64{"cert_revoked": 1})
			if _, err := try(t, g.Client(cert), http.MethodGet, g.URL+"/tools", "", token); err == nil {
				t.Error("a handshake of the denied certificate got through")
			}
			wantChange(t, g, handshakes, "result", shaken, map[string]float64{"revoked": 1})
			refused += 2 // the call and the handshake
			if n := g.Metric("sangate_revocations_total", "name", filepath.Join(g.Dir, "ca.crt.denied")); n != refused {
				t.Errorf("%v refusals by the denylist, want %v", n, refused)
			}
			if res := ask(t, bystander, http.MethodGet, g.URL+"/tools", "", token); res.StatusCode != 200 {
				t.Errorf("another certificate: %s", res.Status)
			}

			g.Change("certificate", func() { g.Write("ca.crt.denied", nil) })
			if res := ask(t, g.Client(cert), http.MethodGet, g.URL+"/tools", "", token); res.StatusCode != 200 {
				t.Errorf("after the line was taken out: %s", res.Status)
			}
		})
	}
	failed := g.Metric("sangate_certificate_reloads_total", "result", "error")
	g.Write("ca.crt.denied", []byte("spki:nonsense\n"))
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_certificate_reloads_total", "result", "error") > failed }, 5*time.Second) {
		t.Error("a bad line is not counted")
	}
	if res := ask(t, g.Client(cert), http.MethodGet, g.URL+"/tools", "", token); res.StatusCode != 200 {
		t.Errorf("with a bad line: %s", res.Status)
	}
}

// What step-ca revokes is out as soon as its list has been fetched: the running
// call and the next handshake. In hard mode nobody gets in without a list.
func TestRevocationByStepCA(t *testing.T) {
	t.Parallel()
	ca := steptest.Start(t, steptest.Options{CRL: true})
	wait, began, release := waiting(t)
	defer close(release)
	issue := func(name string) (crt, key string) {
		crt, key = filepath.Join(ca.Dir, name+".crt"), filepath.Join(ca.Dir, name+".key")
		ca.Step("ca", "certificate", name, crt, key, "--ca-url", ca.URL, "--root", ca.RootFile,
			"--token", ca.Token(name, "spiffe://example.org/tenant/acme/"+name))
		return crt, key
	}
	badCrt, badKey := issue("bad")
	goodCrt, goodKey := issue("good")
	g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{wait}, Config: func(yaml string) string {
		tls := fmt.Sprintf(`{stepCA: {url: "%s", fingerprint: %s, provisioner: %s, passwordFile: %s, sans: [localhost, 127.0.0.1]}, revocation: {crl: ["%[1]s/1.0/crl"], crlMode: hard}}`,
			ca.URL, ca.Fingerprint, steptest.Provisioner, ca.PasswordFile())
		return strings.Replace(yaml, "{cert: server.crt, key: server.key, clientCA: [ca.crt]}", tls, 1)
	}})
	token := "Authorization: Bearer " + g.Key("acme")
	running := start(t, stepClient(t, ca, badCrt, badKey), g.URL+"/tool/wait/call", "{}", asJSON, token)
	select {
	case <-began:
	case o := <-running:
		t.Fatalf("before: %+v", o)
	}
	list := []string{"name", ca.URL + "/1.0/crl"}
	if n := g.Metric("sangate_crl_entries", list...); n != 0 {
		t.Errorf("%v entries before", n)
	}
	ca.Step("ca", "revoke", "--cert", badCrt, "--key", badKey, "--ca-url", ca.URL, "--root", ca.RootFile)
	g.Server.Reload() // else it is fetched within the hour
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_crl_entries", list...) == 1 }, 10*time.Second) {
		t.Fatal("the list was not fetched")
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
	if _, err := try(t, stepClient(t, ca, badCrt, badKey), http.MethodGet, g.URL+"/tools", "", token); err == nil {
		t.Error("the revoked certificate got in")
	}
	wantChange(t, g, handshakes, "result", before, map[string]float64{"revoked": 1})
	if n := g.Metric("sangate_revocations_total", list...); n != 2 {
		t.Errorf("%v refusals by the list, want 2: the call and the handshake", n)
	}
	if res := ask(t, stepClient(t, ca, goodCrt, goodKey), http.MethodGet, g.URL+"/tools", "", token); res.StatusCode != 200 {
		t.Errorf("another certificate: %s", res.Status)
	}
}

// Without a list, hard mode lets nobody in and says so; soft mode does.
func TestListThatIsNotThere(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{"hard": "revocation_unknown", "soft": "ok"} {
		t.Run(mode, func(t *testing.T) {
			g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
				return strings.Replace(yaml, "clientCA:", "revocation: {crl: [none.crl], crlMode: "+mode+"}, clientCA:", 1)
			}})
			before := g.By(handshakes, "result")
			_, _ = try(t, g.Client(g.Cert("acme")), http.MethodGet, g.URL+"/health", "")
			wantChange(t, g, handshakes, "result", before, map[string]float64{want: 1})
		})
	}
}

func inspectLeaf(t *testing.T, c *pkitest.Cert) inspect.Certificate {
	t.Helper()
	report, err := inspect.PEM(context.Background(), c.CertPEM(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return report.Certificates[0]
}
