package server_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/docs"
	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/servertest"
)

// docs/reasons.md has a heading for every reason, and none for what is not one.
func TestReasonsPage(t *testing.T) {
	t.Parallel()
	f, err := os.Open("../docs/reasons.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var page []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "## "); ok {
			page = append(page, name)
		}
	}
	var code []string
	for _, r := range pki.HandshakeReasons() {
		code = append(code, string(r))
	}
	for _, r := range auth.Reasons {
		if !slices.Contains(code, string(r)) { // revocation_unknown is in both
			code = append(code, string(r))
		}
	}
	if !slices.Equal(page, code) {
		t.Errorf("the page has\n%v\nthe code has\n%v", page, code)
	}
}

// Each entry says how the reason looks on both sides, and that is how it looks: the
// answer is the one that a client gets, the series and the alerts are there.
func TestReasonsEntries(t *testing.T) {
	t.Parallel()
	alerts, err := os.ReadFile("../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	stages := map[string]auth.Stage{}
	for stage, reason := range auth.Reasons {
		if !slices.Contains(pki.HandshakeReasons(), reason) {
			stages[string(reason)] = stage
		}
	}
	for _, e := range docs.Reasons() {
		if e.Name == "ok" {
			continue
		}
		for _, part := range []string{e.Means, e.Client, e.Gate, e.Likely, e.Do, e.Alert} {
			if part == "" || strings.Contains(part, "\n\n") {
				t.Errorf("%s lacks something: %+v", e.Name, e)
				break
			}
		}
		for _, link := range regexp.MustCompile(`\[(\w+)\]\(alerts\.md#(\w+)\)`).FindAllStringSubmatch(e.Alert, -1) {
			if strings.ToLower(link[1]) != link[2] || !strings.Contains(string(alerts), "\n## "+link[1]+"\n") {
				t.Errorf("%s: no alert %s", e.Name, link[0])
			}
		}
		stage, atRequest := stages[e.Name]
		if !atRequest {
			if !strings.HasPrefix(e.Gate, fmt.Sprintf("`sangate_tls_handshakes_total{result=%q}`", e.Name)) {
				t.Errorf("%s: the gate shows %s", e.Name, e.Gate)
			}
			continue
		}
		if !strings.HasPrefix(e.Gate, fmt.Sprintf("`sangate_auth_decisions_total{stage=%q,reason=%q}`", stage, e.Name)) {
			t.Errorf("%s: the gate shows %s", e.Name, e.Gate)
		}
		a := answer.Refusal(&auth.Decision{Stage: stage, Reason: auth.Reason(e.Name), Snapshot: &auth.Snapshot{}}, true)
		if want := fmt.Sprintf("`%d` `%s`, %q", a.Status, a.Code, a.Message); !strings.HasPrefix(e.Client, want) || a.Close != strings.Contains(e.Client, "closed") {
			t.Errorf("%s: the page has %s, the client gets %s", e.Name, e.Client, want)
		}
	}
}

// The alerts are those that the page has.
func TestReasonsAlerts(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	acme := []string{"spiffe://example.org/tenant/acme/agent"}
	over, young := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	for reason, cert := range map[string]*pkitest.Cert{
		"no_certificate":  nil,
		"untrusted":       pkitest.NewCA(t, "another").Issue(t, pkitest.Leaf{URIs: acme}),
		"expired":         g.CA.Issue(t, pkitest.Leaf{URIs: acme, NotBefore: over.Add(-time.Hour), NotAfter: over}),
		"not_yet_valid":   g.CA.Issue(t, pkitest.Leaf{URIs: acme, NotBefore: young, NotAfter: young.Add(time.Hour)}),
		"wrong_usage":     g.CA.Issue(t, pkitest.Leaf{URIs: acme, IsCA: true}),
		"bad_certificate": g.CA.Issue(t, pkitest.Leaf{DNS: slices.Repeat([]string{"n.example"}, 65)}),
		"protocol":        nil,
	} {
		config := g.TLS(cert)
		if reason == "protocol" {
			config.MaxVersion = tls.VersionTLS12
		}
		conn, err := tls.Dial("tcp", g.Addr, config)
		if err == nil { // with TLS 1.3 the gate's word comes after the client's handshake is done
			_, err = conn.Read(make([]byte, 1))
			_ = conn.Close()
		}
		e, _ := docs.Reason(reason)
		alert := strings.Split(e.Client, "`")[1]
		if err == nil || !strings.Contains(err.Error(), "tls: "+alert) {
			t.Errorf("%s: the page has %s, the client gets %v", reason, e.Client, err)
		}
	}
}
