package main

import (
	"crypto/x509"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/stepca"
)

// token has one made for these names, as whoever admits agents does.
func (ca *operatorCA) token(provisioner string, sans ...string) string {
	ca.t.Helper()
	args := []string{"ca", "token", sans[0], "--provisioner", provisioner, "--provisioner-password-file", ca.file("secrets/" + provisioner + "_password"),
		"--ca-url", "https://" + ca.addr, "--root", ca.file("certs/root_ca.crt")}
	for _, san := range sans {
		args = append(args, "--san", san)
	}
	return ca.step(args...)
}

// Each provisioner gives what it is for, and nothing else, through renewals too.
func TestStepCAIssues(t *testing.T) {
	ca := newOperatorCA(t, "--gate", "127.0.0.9", "--max-lifetime", "48h")
	ca.setup()
	c := ca.start()
	const gate, agents = "gate", "agents"
	client, both := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	const id = "spiffe://example.org/tenant/acme/agent-7"

	good := []struct {
		from   string
		sans   []string
		name   string // common name
		usages []x509.ExtKeyUsage
	}{
		{agents, []string{id}, "agent-7", client},
		{agents, []string{"spiffe://example.org/tenant/a.b-c_9/A"}, "A", client},
		{gate, []string{"localhost"}, "localhost", both},
		{gate, []string{"127.0.0.9", "localhost"}, "localhost", both},
	}
	for _, tt := range good {
		pair, err := c.Enrol(t.Context(), ca.token(tt.from, tt.sans...), stepca.Request{})
		if err != nil {
			t.Errorf("%s %q: %v", tt.from, tt.sans, err)
			continue
		}
		renewed, err := c.Renew(t.Context(), pair)
		if err != nil {
			t.Errorf("%s %q: %v", tt.from, tt.sans, err)
			continue
		}
		for _, leaf := range []*x509.Certificate{pair.Leaf(), renewed.Leaf()} {
			names := len(leaf.URIs) + len(leaf.DNSNames) + len(leaf.IPAddresses) + len(leaf.EmailAddresses)
			if names != len(tt.sans) || leaf.Subject.String() != "CN="+tt.name || !slices.Equal(leaf.ExtKeyUsage, tt.usages) || len(leaf.UnknownExtKeyUsage) > 0 {
				t.Errorf("%s %q: %s, %d names, usages %v", tt.from, tt.sans, leaf.Subject, names, leaf.ExtKeyUsage)
			}
			if !slices.Equal(leaf.CRLDistributionPoints, []string{c.URL() + "/1.0/crl"}) {
				t.Errorf("%s: its list is at %q", tt.from, leaf.CRLDistributionPoints)
			}
		}
	}

	bad := []struct {
		from string
		sans []string
		says string
	}{
		{agents, []string{"agent-7"}, "is no name of a client"},
		{agents, []string{"localhost"}, "is no name of a client"},
		{agents, []string{"ops@example.org"}, "is no name of a client"},
		{agents, []string{id, "localhost"}, "one name, not 2"},
		{agents, []string{id, "spiffe://example.org/tenant/globex/agent-7"}, "one name, not 2"},
		{agents, []string{"spiffe://example.net/tenant/acme/agent-7"}, "is no name of a client"},
		{agents, []string{"spiffe://example.org.evil/tenant/acme/agent-7"}, "is no name of a client"},
		{agents, []string{"spiffe://example.org/tenant/acme"}, "is no name of a client"},
		{agents, []string{"spiffe://example.org/tenant/acme/a/b"}, "is no name of a client"},
		{agents, []string{"spiffe://example.org/tenant/Acme/a"}, "is no name of a client"},
		{agents, []string{"spiffe://example.org/tenant/acme/a%2Fb"}, "is no name of a client"},
		{agents, []string{"spiffe://example.org/tenant/acme/a?b"}, "is no name of a client"},
		{agents, []string{"spiffe://example.org/tenant/acme/.."}, "is no name of an agent"},
		{agents, []string{"spiffe://example.org/tenant/../acme"}, "is no name of a client"},
		{gate, []string{"elsewhere.example"}, "is no name of a gate"},
		{gate, []string{"localhost", "elsewhere.example"}, "is no name of a gate"},
		{gate, []string{"127.0.0.1"}, "is no name of a gate"},
		{gate, []string{id}, "is no name of a gate"},
	}
	for _, tt := range bad {
		if _, err := c.Enrol(t.Context(), ca.token(tt.from, tt.sans...), stepca.Request{}); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s %q: %v", tt.from, tt.sans, err)
		}
	}

	// The token says what the name is, whatever the request does.
	if _, err := c.Enrol(t.Context(), ca.token(agents, id), stepca.Request{SANs: []string{"spiffe://example.org/tenant/globex/agent-7"}}); err == nil {
		t.Error("a request changed the name in the token")
	}
	if _, err := c.Enrol(t.Context(), ca.token(agents, id), stepca.Request{Lifetime: 49 * time.Hour}); err == nil {
		t.Error("a certificate of more than --max-lifetime")
	}
}

// Who proves a name by ACME gets it, where it is a gate's.
func TestStepCAIssuesByACME(t *testing.T) {
	ca := newOperatorCA(t)
	ca.setup()
	answers := freePort(t)
	_, port, err := net.SplitHostPort(answers)
	if err != nil {
		t.Fatal(err)
	}
	c := ca.start("--insecure", "--acme-http-port", port)
	way := stepca.ACME{Client: c, Provisioner: "acme", AccountFile: filepath.Join(t.TempDir(), "account.key"), HTTP: answers}
	pair, err := way.Enrol(t.Context(), stepca.Request{SANs: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	if leaf := pair.Leaf(); !slices.Equal(leaf.DNSNames, []string{"localhost"}) || !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		t.Errorf("%q, usages %v", leaf.DNSNames, leaf.ExtKeyUsage)
	}
	// It is ours, proved so, and no gate's.
	if _, err := way.Enrol(t.Context(), stepca.Request{SANs: []string{"127.0.0.1"}}); err == nil {
		t.Error("a name that no gate has")
	}
}

// What has ended is renewed where the flag says so, and nowhere else.
func TestStepCARenewsAfterExpiry(t *testing.T) {
	ca := newOperatorCA(t, "--min-lifetime", "1s", "--renew-after-expiry", "agents")
	ca.setup()
	ca.age()
	c := ca.start()
	for provisioner, tt := range map[string]struct {
		san    string
		renews bool
	}{"agents": {"spiffe://example.org/tenant/acme/agent-7", true}, "gate": {"localhost", false}} {
		pair, err := c.Enrol(t.Context(), ca.token(provisioner, tt.san), stepca.Request{Lifetime: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for !time.Now().After(pair.Leaf().NotAfter.Add(time.Second)) { // step-ca counts in whole ones
			time.Sleep(50 * time.Millisecond)
		}
		asked := time.Now()
		renewed, err := c.Renew(t.Context(), pair)
		if (err == nil) != tt.renews {
			t.Errorf("%s: %v", provisioner, err)
		}
		if err == nil && !renewed.Leaf().NotAfter.After(asked) { // it lasts for a second, which a busy machine may take to tell
			t.Errorf("%s: renewed until %v", provisioner, renewed.Leaf().NotAfter)
		}
	}
}

// age replaces root and intermediate by ones an hour old: step-ca looks at what
// has ended as of a minute before, when a CA of today was not there yet.
func (ca *operatorCA) age() {
	ca.t.Helper()
	create := func(name, profile, file string, more ...string) {
		ca.t.Helper()
		ca.step(append([]string{"certificate", "create", name, ca.file("certs/" + file + ".crt"), ca.file("secrets/" + file + "_key"), "--profile", profile,
			"--force", "--not-before", "-1h", "--not-after", "24h", "--password-file", ca.file("secrets/ca_password")}, more...)...)
	}
	create("Aged Root", "root-ca", "root_ca")
	create("Aged Intermediate", "intermediate-ca", "intermediate_ca", "--ca", ca.file("certs/root_ca.crt"),
		"--ca-key", ca.file("secrets/root_ca_key"), "--ca-password-file", ca.file("secrets/ca_password"))
}
