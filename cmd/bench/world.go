package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.step.sm/crypto/minica"
	"go.step.sm/crypto/pemutil"

	"github.com/sangate/sangate/server/keyring"
)

// A world is the folder of one run: a CA with an intermediate, as step-ca has,
// a server's and a client's certificate, an API key and a JWT of the tenant acme.
type world struct {
	dir      string
	ca       *minica.CA
	key, jwt string
	digest   string // of the key, for the configuration
}

const (
	issuer = "https://id.bench.example"
	lived  = 24 * time.Hour
)

func newWorld() (*world, error) {
	dir, err := os.MkdirTemp("", "sangate-bench-")
	if err != nil {
		return nil, err
	}
	w := &world{dir: dir}
	if err := os.Mkdir(w.loadPath(""), 0o700); err != nil {
		return nil, err
	}
	if w.ca, err = minica.New(minica.WithName("bench")); err != nil {
		return nil, err
	}
	if _, err := pemutil.Serialize(w.ca.Root, pemutil.ToFile(w.path("root.crt"), 0o600)); err != nil {
		return nil, err
	}
	id, err := url.Parse("spiffe://bench.example/tenant/acme/agent")
	if err != nil {
		return nil, err
	}
	server := &x509.Certificate{DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	client := &x509.Certificate{URIs: []*url.URL{id},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for name, template := range map[string]*x509.Certificate{"server": server, "client": client} {
		if err := w.issue(name, template); err != nil {
			return nil, fmt.Errorf("certificate of the %s: %w", name, err)
		}
	}
	minted, _, err := keyring.Make(keyring.Order{Tenant: "acme"}, time.Now())
	if err != nil {
		return nil, err
	}
	w.key, w.digest = minted.Key, minted.SHA256
	return w, w.sign()
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// loadPath is where the load generator's files are: not where the gate watches
// its own.
func (w *world) loadPath(name string) string { return filepath.Join(w.dir, "load", name) }

// issue writes name.crt, with the intermediate, and name.key.
func (w *world) issue(name string, template *x509.Certificate) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template.PublicKey = crypto.PublicKey(&key.PublicKey)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(lived)
	leaf, err := w.ca.Sign(template)
	if err != nil {
		return err
	}
	var chain []byte
	for _, c := range []*x509.Certificate{leaf, w.ca.Intermediate} {
		block, err := pemutil.Serialize(c)
		if err != nil {
			return err
		}
		chain = append(chain, pem.EncodeToMemory(block)...)
	}
	if err := os.WriteFile(w.path(name+".crt"), chain, 0o600); err != nil {
		return err
	}
	_, err = pemutil.Serialize(key, pemutil.WithPKCS8(true), pemutil.ToFile(w.path(name+".key"), 0o600))
	return err
}

// sign makes the key set of an issuer, in a file, and a token of it.
func (w *world) sign() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k1", Use: "sig", Algorithm: "ES256"}}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(w.path("jwks.json"), set, 0o600); err != nil {
		return err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k1"}},
		(&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		return err
	}
	now := time.Now()
	claims, err := json.Marshal(map[string]any{"iss": issuer, "aud": "bench", "sub": "agent", "tenant": "acme",
		"iat": now.Unix(), "exp": now.Add(lived).Unix()})
	if err != nil {
		return err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return err
	}
	w.jwt, err = signed.CompactSerialize()
	return err
}

// config writes the configuration of a gate; tls and tenants are further lines.
func (w *world) config(name string, tls string, tenants string) (file string, err error) {
	file = w.path(name + ".yaml")
	return file, os.WriteFile(file, w.text(name, tls, tenants, "none"), 0o600)
}

// change puts another configuration in the place of config's.
func (w *world) change(name string, i int) error {
	next := w.loadPath(name + ".yaml")
	if err := os.WriteFile(next, w.text(name, "", "", fmt.Sprint("change ", i)), 0o600); err != nil {
		return err
	}
	return os.Rename(next, w.path(name+".yaml"))
}

func (w *world) text(name, tls, tenants, change string) []byte {
	return fmt.Appendf(nil, `state: %s
tls:
  cert: server.crt
  key: server.key
  clientCA: [root.crt]
%s
tenants:
  - id: acme
    sans: ["uri:spiffe://bench.example/tenant/acme/*"]
    keys: [{id: k1, sha256: %q}]
    vars: {last: %q}
%sissuers:
  - {name: bench, issuer: %q, audiences: [bench], jwksFile: jwks.json, tenantClaim: tenant}
`, w.path(name+"-state"), tls, w.digest, change, tenants, issuer)
}
