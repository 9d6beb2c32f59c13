package forwarded_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/forwarded"
)

func sequence(c *x509.Certificate) string {
	return ":" + base64.StdEncoding.EncodeToString(c.Raw) + ":"
}

func escaped(certs ...*x509.Certificate) string {
	var all []byte
	for _, c := range certs {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return url.PathEscape(string(all))
}

func headers(lines ...string) http.Header {
	h := make(http.Header)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

func TestPeer(t *testing.T) {
	root := pkitest.NewCA(t, "Root")
	inter := root.Intermediate(t, "Intermediate", nil)
	bundle, err := pki.NewBundle([]*x509.Certificate{root.Cert})
	if err != nil {
		t.Fatal(err)
	}
	snap := &pki.Snapshot{Bundle: bundle}
	uri := pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/agent"}}
	leaf, deep, other := root.Issue(t, uri).Leaf, inter.Issue(t, uri).Leaf, pkitest.NewCA(t, "Other").Issue(t, uri).Leaf
	old := root.Issue(t, pkitest.Leaf{URIs: uri.URIs, NotAfter: time.Now().Add(-time.Minute)}).Leaf
	serverOnly := root.Issue(t, pkitest.Leaf{URIs: uri.URIs, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}).Leaf
	const cc, xfcc = forwarded.ClientCert, forwarded.XFCC
	chainLine := func(certs ...*x509.Certificate) string {
		var all []string
		for _, c := range certs {
			all = append(all, sequence(c))
		}
		return "Client-Cert-Chain: " + strings.Join(all, ", ")
	}
	element := `By=spiffe://example.org/gateway;Hash=00;Cert="` + escaped(leaf) + `";Subject="CN=a,O=\"b;c\"";URI=spiffe://example.org/tenant/globex/x`
	for _, tt := range []struct {
		name   string
		format forwarded.Format
		lines  []string
		want   pki.Reason // "": taken
	}{
		{"leaf", cc, []string{"Client-Cert: " + sequence(leaf)}, ""},
		{"leaf and chain", cc, []string{"Client-Cert: " + sequence(deep), chainLine(inter.Cert)}, ""},
		{"chain over two lines", cc, []string{"Client-Cert: " + sequence(deep), chainLine(inter.Cert), chainLine(root.Cert)}, ""},
		{"chain missing", cc, []string{"Client-Cert: " + sequence(deep)}, pki.Untrusted},
		{"nothing", cc, nil, pki.NoCertificate},
		{"the other header", cc, []string{"X-Forwarded-Client-Cert: " + element}, pki.NoCertificate},
		{"twice", cc, []string{"Client-Cert: " + sequence(leaf), "Client-Cert: " + sequence(leaf)}, pki.BadCertificate},
		{"two in one", cc, []string{"Client-Cert: " + sequence(leaf) + ", " + sequence(leaf)}, pki.BadCertificate},
		{"a parameter", cc, []string{"Client-Cert: " + sequence(leaf) + ";a=1"}, pki.BadCertificate},
		{"no colons", cc, []string{"Client-Cert: " + strings.Trim(sequence(leaf), ":")}, pki.BadCertificate},
		{"one colon", cc, []string{"Client-Cert: :"}, pki.BadCertificate},
		{"empty", cc, []string{"Client-Cert: "}, pki.BadCertificate},
		{"not padded", cc, []string{"Client-Cert: :" + strings.TrimRight(strings.Trim(sequence(leaf), ":"), "=") + "A:"}, pki.BadCertificate},
		{"more behind it", cc, []string{"Client-Cert: :" + base64.StdEncoding.EncodeToString(append(leaf.Raw, 0)) + ":"}, pki.BadCertificate},
		{"chain without leaf", cc, []string{chainLine(leaf)}, pki.BadCertificate},
		{"long chain", cc, []string{"Client-Cert: " + sequence(leaf), chainLine(root.Cert, root.Cert, root.Cert, root.Cert, root.Cert, root.Cert, root.Cert, root.Cert)}, pki.BadCertificate},
		{"other CA", cc, []string{"Client-Cert: " + sequence(other)}, pki.Untrusted},
		{"expired", cc, []string{"Client-Cert: " + sequence(old)}, pki.Expired},
		{"for servers", cc, []string{"Client-Cert: " + sequence(serverOnly)}, pki.WrongUsage},

		{"Envoy's", xfcc, []string{"X-Forwarded-Client-Cert: " + element}, ""},
		{"Envoy's with chain", xfcc, []string{"X-Forwarded-Client-Cert: Cert=\"" + escaped(deep) + "\";Chain=\"" + escaped(deep, inter.Cert) + "\""}, ""},
		{"Envoy's, unquoted", xfcc, []string{"X-Forwarded-Client-Cert: cert=" + escaped(leaf)}, ""},
		{"Envoy's, of others", xfcc, []string{"Client-Cert: " + sequence(leaf)}, pki.NoCertificate},
		{"two elements", xfcc, []string{"X-Forwarded-Client-Cert: " + element + "," + element}, pki.BadCertificate},
		{"two elements, quoted", xfcc, []string{"X-Forwarded-Client-Cert: Cert=\"" + escaped(leaf) + "\",Cert=\"" + escaped(leaf) + "\""}, pki.BadCertificate},
		{"two elements, not quoted", xfcc, []string{"X-Forwarded-Client-Cert: Cert=" + escaped(leaf) + ",By=spiffe://example.org/other"}, pki.BadCertificate},
		{"a quote inside", xfcc, []string{"X-Forwarded-Client-Cert: By=a\"b;Cert=" + escaped(leaf)}, pki.BadCertificate},
		{"two lines", xfcc, []string{"X-Forwarded-Client-Cert: " + element, "X-Forwarded-Client-Cert: " + element}, pki.BadCertificate},
		{"Cert twice", xfcc, []string{"X-Forwarded-Client-Cert: " + element + ";cert=\"" + escaped(leaf) + "\""}, pki.BadCertificate},
		{"names only", xfcc, []string{"X-Forwarded-Client-Cert: Hash=00;URI=spiffe://example.org/tenant/acme/agent"}, pki.BadCertificate},
		{"another's chain", xfcc, []string{"X-Forwarded-Client-Cert: Cert=\"" + escaped(leaf) + "\";Chain=\"" + escaped(deep, inter.Cert) + "\""}, pki.BadCertificate},
		{"open quote", xfcc, []string{"X-Forwarded-Client-Cert: Cert=\"" + escaped(leaf)}, pki.BadCertificate},
		{"two in Cert", xfcc, []string{"X-Forwarded-Client-Cert: Cert=\"" + escaped(leaf, leaf) + "\""}, pki.BadCertificate},
		{"text before", xfcc, []string{"X-Forwarded-Client-Cert: Cert=\"x" + escaped(leaf) + "\""}, pki.BadCertificate},
		{"bad escape", xfcc, []string{"X-Forwarded-Client-Cert: Cert=\"%zz\""}, pki.BadCertificate},
		{"no key", xfcc, []string{"X-Forwarded-Client-Cert: nothing"}, pki.BadCertificate},
	} {
		var r forwarded.Reader
		h := headers(tt.lines...)
		peer, err := r.Peer(h, tt.format, snap, time.Now)
		if got := pki.ReasonOf(err, ""); got != tt.want || (err == nil) != (tt.want == "") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			continue
		}
		if err != nil {
			continue
		}
		if peer.Identity.Name() != uri.URIs[0] || peer.Check(snap, time.Now()) != "" {
			t.Errorf("%s: %s, %s", tt.name, peer.Identity.Name(), peer.Check(snap, time.Now()))
		}
		if again, _ := r.Peer(h, tt.format, snap, time.Now); again != peer {
			t.Errorf("%s: not remembered", tt.name)
		}
		// Remembered is not trusted for ever.
		gone, err := pki.NewBundle([]*x509.Certificate{pkitest.NewCA(t, "New").Cert})
		if err != nil {
			t.Fatal(err)
		}
		if got := peer.Check(&pki.Snapshot{Bundle: gone}, time.Now()); got != pki.CertUntrusted {
			t.Errorf("%s: under another bundle %q", tt.name, got)
		}
	}
}

func TestProxies(t *testing.T) {
	var p forwarded.Proxies
	if err := p.Add("dns:proxy.internal", forwarded.ClientCert); err != nil {
		t.Fatal(err)
	}
	for _, rule := range []string{"dns:{any}.internal", "nonsense", "dns:*.internal"} {
		if err := p.Add(rule, forwarded.XFCC); err == nil {
			t.Errorf("%s was taken", rule)
		}
	}
	ca := pkitest.NewCA(t, "CA")
	peer := func(name string) *pki.Peer {
		return pki.NewPeer([]*x509.Certificate{ca.Issue(t, pkitest.Leaf{DNS: []string{name}}).Leaf}, nil, nil)
	}
	if f, ok := p.Find(peer("proxy.internal")); !ok || f != forwarded.ClientCert {
		t.Errorf("%v, %v", f, ok)
	}
	if _, ok := p.Find(peer("other.internal")); ok {
		t.Error("another was taken for a proxy")
	}
	if _, ok := (*forwarded.Proxies)(nil).Find(peer("proxy.internal")); ok {
		t.Error("nobody's proxy")
	}
}

// FuzzHeaders checks that a forwarded header ends with an error, or with a peer whose
// certificate the trusted authority has issued.
//
// Holds: client/forwarded-certificate
func FuzzHeaders(f *testing.F) {
	ca := pkitest.NewCA(f, "CA")
	leaf := ca.Issue(f, pkitest.Leaf{DNS: []string{"a.example"}}).Leaf
	bundle, err := pki.NewBundle([]*x509.Certificate{ca.Cert})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sequence(leaf), `By=x;Cert="`+escaped(leaf)+`";Subject="\"a\""`)
	f.Add(":", `Cert="`)
	f.Add(": :", `a=b;;c="\`)
	f.Fuzz(func(t *testing.T, clientCert, xfcc string) {
		var r forwarded.Reader
		h := http.Header{"Client-Cert": {clientCert}, "Client-Cert-Chain": {clientCert}, "X-Forwarded-Client-Cert": {xfcc}}
		for _, format := range []forwarded.Format{forwarded.ClientCert, forwarded.XFCC} {
			if peer, err := r.Peer(h, format, &pki.Snapshot{Bundle: bundle}, time.Now); (peer == nil) == (err == nil) {
				t.Fatal(fmt.Sprint(peer, err))
			} else if peer != nil && !peer.Leaf.Equal(leaf) {
				t.Errorf("%v makes %v of a certificate that was not issued", h, peer.Identity)
			}
		}
	})
}
