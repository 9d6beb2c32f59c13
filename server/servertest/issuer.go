package servertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A Claims is a JSON object; nil values are left out of tokens.
type Claims map[string]any

// With returns a copy with other members.
func (c Claims) With(changes Claims) Claims {
	out := maps.Clone(c)
	maps.Copy(out, changes)
	return out
}

func (c Claims) text(t testing.TB) []byte {
	t.Helper()
	out := maps.Clone(c)
	maps.DeleteFunc(out, func(_ string, v any) bool { return v == nil })
	data, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// An Issuer is a token issuer on loopback, over TLS: discovery and a key set.
// It signs whatever it is told to.
type Issuer struct {
	URL     string
	Fetches atomic.Int32 // of the key set

	t      testing.TB
	server *httptest.Server

	mu   sync.Mutex
	keys map[string]*ecdsa.PrivateKey
	gone map[string]bool  // those that are published no longer
	set  http.HandlerFunc // instead of the keys
}

// NewIssuer starts one with the key "k1"; it ends with the test.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{t: t, keys: make(map[string]*ecdsa.PrivateKey), gone: make(map[string]bool)}
	i.server = httptest.NewTLSServer(http.HandlerFunc(i.serve))
	i.URL = i.server.URL
	t.Cleanup(i.server.Close)
	i.Roll("k1")
	return i
}

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/.well-known/openid-configuration" {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, i.URL, i.URL+"/keys")
		return
	}
	i.Fetches.Add(1)
	i.mu.Lock()
	h := i.set
	i.mu.Unlock()
	if h != nil {
		h(w, r)
		return
	}
	_, _ = w.Write(i.JWKS())
}

// Answer has h answer for the key set; nil: the keys again.
func (i *Issuer) Answer(h http.HandlerFunc) {
	i.mu.Lock()
	i.set = h
	i.mu.Unlock()
}

// Roll makes a key of that id and publishes it beside the others.
func (i *Issuer) Roll(kid string) {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	i.keys[kid] = key
	i.mu.Unlock()
}

// Forget publishes a key no longer; it can still sign.
func (i *Issuer) Forget(kid string) {
	i.mu.Lock()
	i.gone[kid] = true
	i.mu.Unlock()
}

// JWKS returns the key set.
func (i *Issuer) JWKS() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	var set jose.JSONWebKeySet
	for kid, key := range i.keys {
		if i.gone[kid] {
			continue
		}
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: &key.PublicKey, KeyID: kid, Use: "sig", Algorithm: "ES256"})
	}
	data, _ := json.Marshal(set) // of public keys only
	return data
}

// CA returns the certificate its server shows, as PEM.
func (i *Issuer) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.server.Certificate().Raw})
}

// Config returns lines for a gate's configuration that take its tokens for the
// audience "gate", whose tenant is the claim "tenant"; more are keys of the
// issuer in place of tenantClaim.
func (i *Issuer) Config(more ...string) string {
	i.t.Helper()
	ca := filepath.Join(i.t.TempDir(), "issuer.crt")
	if err := os.WriteFile(ca, i.CA(), 0o600); err != nil {
		i.t.Fatal(err)
	}
	if more == nil {
		more = []string{"tenantClaim: tenant"}
	}
	return "egress: {allow: [127.0.0.0/8]}\nissuers:\n  - name: test\n    issuer: " + i.URL +
		"\n    audiences: [gate]\n    caFile: " + ca + "\n    " + strings.Join(more, "\n    ") + "\n"
}

// Claims are those of a good token of a tenant, for an hour.
func (i *Issuer) Claims(tenant string) Claims {
	now := time.Now()
	return Claims{"iss": i.URL, "aud": "gate", "sub": "agent", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "tenant": tenant}
}

// Token signs claims with the key k1.
func (i *Issuer) Token(c Claims) string {
	i.t.Helper()
	return i.Sign(Claims{"alg": "ES256", "kid": "k1", "typ": "at+jwt"}, c)
}

// Sign signs with the key that the header names, or k1 where there is none such,
// whatever else it says.
func (i *Issuer) Sign(header, claims Claims) string {
	i.t.Helper()
	return i.SignText(header, claims.text(i.t))
}

// SignText is Sign for a payload as it stands.
func (i *Issuer) SignText(header Claims, payload []byte) string {
	i.t.Helper()
	kid, _ := header["kid"].(string)
	i.mu.Lock()
	key := i.keys[kid]
	if key == nil {
		key = i.keys["k1"]
	}
	i.mu.Unlock()
	b64 := base64.RawURLEncoding.EncodeToString
	signed := b64(header.text(i.t)) + "." + b64(payload)
	digest := crypto.SHA256.New()
	digest.Write([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest.Sum(nil))
	if err != nil {
		i.t.Fatal(err)
	}
	return signed + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}
