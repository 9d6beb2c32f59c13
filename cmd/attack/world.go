package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/sangate/sangate/server/keyring"
)

// A world is the folder of one run: a CA, a server certificate, and client
// certificates and API keys of the tenants acme (the attacker) and globex (the
// well-behaved client).
type world struct {
	dir     string
	ca      *x509.Certificate
	caKey   crypto.Signer
	tokens  map[string]string // by tenant
	digests map[string]string
}

func newWorld() (w *world, err error) {
	w = &world{tokens: map[string]string{}, digests: map[string]string{}}
	if w.dir, err = os.MkdirTemp("", "sangate-attack-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(w.dir)
		}
	}()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	root := template("attack root")
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	w.caKey = key
	if w.ca, err = sign(root, root, key.Public(), key); err != nil {
		return nil, err
	}
	if err := writePEM(w.path("root.crt"), "CERTIFICATE", w.ca.Raw); err != nil {
		return nil, err
	}
	if err := writePKCS8(w.path("root.key"), key); err != nil {
		return nil, err
	}
	server := template("localhost")
	server.DNSNames, server.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if err := w.issue("server", server); err != nil {
		return nil, err
	}
	for _, tenant := range []string{"acme", "globex"} {
		client := template("")
		client.URIs = []*url.URL{{Scheme: "spiffe", Host: "attack.example", Path: "/tenant/" + tenant + "/agent"}}
		client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		if err := w.issue(tenant, client); err != nil {
			return nil, err
		}
		minted, _, err := keyring.Make(keyring.Order{Tenant: tenant}, time.Now())
		if err != nil {
			return nil, err
		}
		w.tokens[tenant], w.digests[tenant] = minted.Key, minted.SHA256
	}
	return w, nil
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) issue(name string, tmpl *x509.Certificate) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	cert, err := sign(tmpl, w.ca, key.Public(), w.caKey)
	if err != nil {
		return err
	}
	if err := writePEM(w.path(name+".crt"), "CERTIFICATE", cert.Raw); err != nil {
		return err
	}
	return writePKCS8(w.path(name+".key"), key)
}

// client returns the TLS configuration of a tenant's client.
func (w *world) client(tenant string) (*tls.Config, error) {
	return clientTLS(w.dir, tenant)
}

func clientTLS(dir, tenant string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, tenant+".crt"), filepath.Join(dir, tenant+".key"))
	if err != nil {
		return nil, err
	}
	root, err := os.ReadFile(filepath.Join(dir, "root.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ServerName: "localhost"}, nil
}

// config is the configuration of one server; tls, limits and more are further lines.
func (w *world) config(dir string, drain time.Duration, tls, limits, more string) string {
	return fmt.Sprintf(`state: %s
tls:
  cert: %[2]s/server.crt
  key: %[2]s/server.key
  clientCA: [%[2]s/root.crt]
%[8]s
tenants:
  - id: acme
    sans: ["uri:spiffe://attack.example/tenant/acme/*"]
    keys: [{id: k1, sha256: %[3]q}]
    tools: {allow: ["*"]}
  - id: globex
    sans: ["uri:spiffe://attack.example/tenant/globex/*"]
    keys: [{id: k2, sha256: %[4]q}]
    tools: {allow: ["*"]}
egress: {allow: [127.0.0.0/8]}
limits:
  drainTimeout: %[5]v
%[6]s
%[7]s
`, filepath.Join(dir, "state"), w.dir, w.digests["acme"], w.digests["globex"], drain, limits, more, tls)
}

func template(commonName string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	now := time.Now()
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: commonName},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
}

func sign(tmpl, parent *x509.Certificate, public crypto.PublicKey, by crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, public, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

func writePKCS8(file string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(file, "PRIVATE KEY", der)
}
