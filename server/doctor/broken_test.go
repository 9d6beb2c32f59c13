package doctor_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/doctor"
	"github.com/sangate/sangate/server/servertest"
)

// alike are set-ups that the doctor cannot tell from what it names, so it tells of
// them beside it: what the gate has for each.
var alike = map[string]string{
	"a revocation list that is stale": "revocation_unknown",
	"a key that is over":              "token_expired",
	"a key that is revoked":           "token_revoked",
	"a key pinned to another name":    "binding_mismatch",
	"a token that is not bound":       "binding_missing",
	"a token of an unpublished key":   "token_key_unknown",
}

// A setup does not work: by breaks it and returns what mends it.
type setup struct {
	name, step, finding string
	tells               string // beside the finding
	by                  func(w *world, o *doctor.Options) (mend func())
}

var broken = slices.Concat(brokenWays, brokenTokens)

var brokenWays = []setup{
	{"http:// in the URL", "address", "scheme", "http://", url(func(w *world) string { return strings.Replace(w.URL, "https", "http", 1) })},
	{"a name that is not there", "address", "dns", `gate\.invalid`, url(func(*world) string { return "https://gate.invalid:8443" })},
	{"port closed", "connection", "port_closed", "connection refused", url(func(w *world) string { return "https://" + w.closed() })},
	{"packets are dropped", "connection", "unreachable", "i/o timeout", url(func(w *world) string { return "https://" + w.full("127.0.0.1:0") })},
	{"nobody behind the balancer", "tls", "no_answer", "EOF|reset", url(func(w *world) string { return "https://" + w.talks("") })},
	{"plain HTTP", "tls", "plain_http", "", url(func(w *world) string { return strings.Replace(w.AdminURL, "http", "https", 1) })},
	{"SSH", "tls", "not_tls", `SSH-2`, url(func(w *world) string { return "https://" + w.talks("SSH-2.0-OpenSSH_9.2\r\n") })},
	{"TLS ends before the gate", "tls", "no_certificate_request", "", url(func(w *world) string { return w.web(tls.NoClientCert, pkitest.Leaf{IPs: here}, http.NotFound) })},
	{"TLS 1.2 only", "tls", "protocol", "protocol version", func(_ *world, o *doctor.Options) func() {
		o.MaxVersion = tls.VersionTLS12
		return func() { o.MaxVersion = tls.VersionTLS13 }
	}},
	{"clock behind", "clock", "clock", `(2h0m|1h59m).* ahead of`, clock(-2 * time.Hour)},
	{"clock ahead", "clock", "clock", `(2h0m|1h59m).* behind`, clock(2 * time.Hour)},

	{"another root", "server certificate", "server_untrusted", "CN=another", func(w *world, o *doctor.Options) func() {
		return w.trust(o, pkitest.NewCA(w, "another"))
	}},
	{"the root was replaced", "server certificate", "server_untrusted", "another key", func(w *world, o *doctor.Options) func() {
		return w.trust(o, pkitest.NewCA(w, "Test CA"))
	}},
	{"the root is over", "server certificate", "server_untrusted", "--ca.*expired root.*fetch it anew", func(w *world, o *doctor.Options) func() {
		return w.trust(o, w.CA.Sibling(w, over))
	}},
	{"the server sends no intermediate", "server certificate", "server_chain", "sends 1 certificates", func(w *world, o *doctor.Options) func() {
		whole := w.inter.Issue(w, pkitest.Leaf{IPs: []string{"127.0.0.1"}})
		alone := *whole
		alone.TLS.Certificate = whole.TLS.Certificate[:1]
		w.serve(&alone)
		w.show(o, w.inter.Issue(w, agent))
		return func() { w.serve(whole) }
	}},
	{"server certificate over", "server certificate", "server_expired", "ended at", func(w *world, _ *doctor.Options) func() {
		end := time.Now().Add(2 * time.Second) // one that is over already is not taken up
		w.serve(w.inter.Issue(w, pkitest.Leaf{IPs: here, NotAfter: end}))
		servertest.WaitFor(func() bool { return time.Now().After(end.Add(time.Second)) }, 5*time.Second)
		return func() { w.serve(w.inter.Issue(w, pkitest.Leaf{IPs: here})) }
	}},
	{"server certificate too young", "server certificate", "server_not_yet_valid", "begins at", url(func(w *world) string {
		return w.web(tls.RequestClientCert, pkitest.Leaf{IPs: here, NotBefore: ago(-1), NotAfter: ago(-2)}, http.NotFound)
	})},
	{"server certificate of another name", "server certificate", "server_name", `other\.example, 127\.0\.0\.9, not for 127\.0\.0\.1`,
		server(pkitest.Leaf{DNS: []string{"other.example"}, IPs: []string{"127.0.0.9"}})},
	{"server certificate for clients", "server certificate", "server_usage", "", server(pkitest.Leaf{IPs: here, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})},

	{"no certificate", "client certificate", "no_certificate", "none given", func(_ *world, o *doctor.Options) func() {
		files := o.Files
		o.Files.Cert, o.Files.Key = "", ""
		return func() { o.Files = files }
	}},
	{"a certificate file cut off", "client certificate", "client_files", "client.crt: .*valid PEM", func(w *world, o *doctor.Options) func() {
		data := w.read("client.crt")
		w.write("client.crt", data[:len(data)-40])
		return func() { w.write("client.crt", data) }
	}},
	{"a certificate file with the key in it", "client certificate", "client_files", "client.crt: .*private key and a certificate.*openssl x509", func(w *world, o *doctor.Options) func() {
		crt, key := w.read("client.crt"), w.read("client.key")
		w.write("client.crt", append(key, crt...))
		return func() { w.write("client.crt", crt) }
	}},
	{"a key file with the certificate in it", "client certificate", "client_files", "client.key: .*private key and a certificate.*openssl pkey", func(w *world, o *doctor.Options) func() {
		crt, key := w.read("client.crt"), w.read("client.key")
		w.write("client.key", append(crt, key...))
		return func() { w.write("client.key", key) }
	}},
	{"a PKCS #12 file", "client certificate", "client_files", "client.crt: .*openssl pkcs12", func(w *world, o *doctor.Options) func() {
		crt := w.read("client.crt")
		w.write("client.crt", []byte("\x30\x82\x0a\x00\x02\x01\x03\x30\x82\x09\xc6\x06\x09*\x86H\x86\xf7\r\x01\x07\x01"))
		return func() { w.write("client.crt", crt) }
	}},
	{"no key file", "client certificate", "client_files", "absent.key", func(_ *world, o *doctor.Options) func() {
		key := o.Files.Key
		o.Files.Key = "absent.key"
		return func() { o.Files.Key = key }
	}},
	{"key of another certificate", "client certificate", "key_mismatch", "does not belong", shown(pkitest.Leaf{URIs: agent.URIs, OtherKey: true})},
	{"certificate over", "client certificate", "expired", "ended at", shown(pkitest.Leaf{URIs: agent.URIs, NotBefore: ago(2), NotAfter: ago(1)})},
	{"certificate too young", "client certificate", "not_yet_valid", "begins at", shown(pkitest.Leaf{URIs: agent.URIs, NotBefore: ago(-1), NotAfter: ago(-2)})},
	{"a server's certificate", "client certificate", "wrong_usage", "clientAuth", shown(pkitest.Leaf{URIs: agent.URIs, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})},
	{"a CA's certificate", "client certificate", "wrong_usage", "CA certificate", shown(pkitest.Leaf{URIs: agent.URIs, IsCA: true})},
	{"too many names", "client certificate", "bad_certificate", "names in the leaf", shown(pkitest.Leaf{DNS: many(65)})},
	{"a name outside the rules", "client certificate", "san_invalid", "%61", shown(pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/%61cme/agent"}})},
	{"no name", "client certificate", "san_missing", "", shown(pkitest.Leaf{CommonName: "acme"})},
	{"no intermediate", "client certificate", "missing_intermediate", "no certificate of CN=Test Intermediate", func(w *world, o *doctor.Options) func() {
		w.serve(w.inter.Issue(w, pkitest.Leaf{IPs: here})) // which shows the intermediate to the doctor
		whole := w.inter.Issue(w, agent)
		alone := *whole
		alone.TLS.Certificate = whole.TLS.Certificate[:1]
		w.show(o, &alone)
		return func() { w.show(o, whole) }
	}},
	{"another CA", "client certificate", "untrusted", "takes certificates of CN=Test CA; .* is by CN=another", func(w *world, o *doctor.Options) func() {
		w.show(o, pkitest.NewCA(w, "another").Issue(w, agent))
		return func() { w.show(o, w.Gate.Cert("acme")) }
	}},
	{"a CA of the same name", "handshake", "untrusted", "another key", func(w *world, o *doctor.Options) func() {
		w.show(o, pkitest.NewCA(w, "Test CA").Issue(w, agent))
		return func() { w.show(o, w.Gate.Cert("acme")) }
	}},
	{"a file of more certificates than are read", "client certificate", "bad_certificate", "8 certificates", func(w *world, o *doctor.Options) func() {
		long := w.Gate.Cert("acme")
		for range 7 {
			long.TLS.Certificate = append(long.TLS.Certificate, w.CA.Cert.Raw)
		}
		w.show(o, long)
		return func() { w.show(o, w.Gate.Cert("acme")) }
	}},
	{"a constraint of the intermediate", "client certificate", "untrusted", "example.org.* not permitted", func(w *world, o *doctor.Options) func() {
		narrow := w.CA.Intermediate(w, "Narrow", func(c *x509.Certificate) { c.PermittedURIDomains = []string{"else.example"} })
		w.show(o, narrow.Issue(w, agent))
		return func() { w.show(o, w.inter.Issue(w, agent)) }
	}},
	{"an intermediate that is over", "client certificate", "expired", "Test Intermediate ended at", func(w *world, o *doctor.Options) func() {
		w.show(o, w.inter.Sibling(w, over).Issue(w, agent))
		return func() { w.show(o, w.inter.Issue(w, agent)) }
	}},
	{"a revocation list that is stale", "handshake", "bad_certificate", `revocation_unknown`, func(w *world, _ *doctor.Options) func() {
		list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: ago(2), NextUpdate: ago(1)}, w.CA.Cert, w.CA.Key())
		if err != nil {
			w.Fatal(err)
		}
		w.Write("stale.crl", list)
		w.Configure(func(yaml string) string {
			return strings.Replace(yaml, "{denylist: denylist}", "{denylist: denylist, crl: [stale.crl]}", 1)
		})
		return func() {
			w.Configure(func(yaml string) string { return strings.Replace(yaml, ", crl: [stale.crl]", "", 1) })
		}
	}},
	{"revoked", "handshake", "revoked", "it is revoked", func(w *world, o *doctor.Options) func() {
		cert := w.Gate.Cert("acme")
		w.show(o, cert)
		sum := sha256.Sum256(cert.Leaf.Raw)
		w.Change("certificate", func() { w.Write("denylist", []byte("sha256:"+hex.EncodeToString(sum[:])+"\n")) })
		return func() { w.show(o, w.Gate.Cert("acme")) }
	}},
	{"another service that asks for certificates", "gate", "not_a_gate", "404", url(func(w *world) string { return w.web(tls.RequestClientCert, pkitest.Leaf{IPs: here}, http.NotFound) })},
	{"silence after the handshake", "gate", "no_answer", "i/o timeout", answers(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })},
	{"an answer that does not end", "gate", "no_answer", "i/o timeout", answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "1")
		_, _ = io.WriteString(w, `{"status":`)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})},
	{"the connection is closed after the handshake", "gate", "no_answer", "EOF|reset", answers(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })},
	{"a short RSA key", "client certificate", "bad_certificate", "an RSA key of 1024 bits", func(w *world, o *doctor.Options) func() {
		key, err := rsa.GenerateKey(rand.Reader, 1024)
		if err != nil {
			w.Fatal(err)
		}
		w.show(o, w.CA.Issue(w, pkitest.Leaf{URIs: agent.URIs, Key: key}))
		return func() { w.show(o, w.Gate.Cert("acme")) }
	}},
	{"a key that TLS has no use for", "client certificate", "bad_certificate", "an ECDSA key on P-224", func(w *world, o *doctor.Options) func() {
		key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
		if err != nil {
			w.Fatal(err)
		}
		w.show(o, w.CA.Issue(w, pkitest.Leaf{URIs: agent.URIs, Key: key}))
		return func() { w.show(o, w.Gate.Cert("acme")) }
	}},
}

var (
	here  = []string{"127.0.0.1"}
	agent = pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/agent"}}
)

func ago(hours int) time.Time { return time.Now().Add(-time.Duration(hours) * time.Hour) }

func over(c *x509.Certificate) { c.NotAfter = ago(0).Add(-10 * time.Minute) }

func many(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("n%d.example", i))
	}
	return out
}

func url(of func(w *world) string) func(*world, *doctor.Options) func() {
	return func(w *world, o *doctor.Options) func() {
		o.URL = of(w)
		return func() { o.URL = w.URL }
	}
}

// answers has the client ask a server that is no gate, and wait no longer than a test
// does.
func answers(h http.HandlerFunc) func(*world, *doctor.Options) func() {
	return func(w *world, o *doctor.Options) func() {
		mend := url(func(w *world) string { return w.web(tls.RequestClientCert, pkitest.Leaf{IPs: here}, h) })(w, o)
		o.Wait = time.Second
		return func() { o.Wait = 0; mend() }
	}
}

func clock(off time.Duration) func(*world, *doctor.Options) func() {
	return func(_ *world, o *doctor.Options) func() {
		o.Now = func() time.Time { return time.Now().Add(off) }
		return func() { o.Now = nil }
	}
}

// configured changes the gate's configuration first.
func configured(old, new string, by func(*world, *doctor.Options) func()) func(*world, *doctor.Options) func() {
	return func(w *world, o *doctor.Options) func() {
		w.Configure(func(yaml string) string { return strings.Replace(yaml, old, new, 1) })
		mend := by(w, o)
		return func() {
			mend()
			w.Configure(func(yaml string) string { return strings.Replace(yaml, new, old, 1) })
		}
	}
}

// server has the gate show a certificate, for once; with its intermediate, because
// the gate has shown one already, and takes files without it as cut off.
func server(l pkitest.Leaf) func(*world, *doctor.Options) func() {
	return func(w *world, _ *doctor.Options) func() {
		w.serve(w.inter.Issue(w, l))
		return func() { w.serve(w.inter.Issue(w, pkitest.Leaf{IPs: here})) }
	}
}

func shown(l pkitest.Leaf) func(*world, *doctor.Options) func() {
	return func(w *world, o *doctor.Options) func() {
		w.show(o, w.CA.Issue(w, l))
		return func() { w.show(o, w.Gate.Cert("acme")) }
	}
}

func (w *world) read(name string) []byte {
	w.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.Fatal(err)
	}
	return data
}

func (w *world) write(name string, data []byte) {
	w.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), bytes.Clone(data), 0o600); err != nil {
		w.Fatal(err)
	}
}
