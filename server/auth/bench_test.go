package auth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/jwt"
	"github.com/sangate/sangate/server/keyset"
	"github.com/sangate/sangate/server/tenant"
	"github.com/sangate/sangate/server/tool"
)

// A bench is a gate with tenants tenant-0 to tenant-(n-1), each with a rule and
// a key, and a client of tenant-7.
type bench struct {
	gate   *auth.Gate
	peer   *pki.Peer
	apiKey string

	key    *ecdsa.PrivateKey // of the issuer
	issuer *jwt.Issuer
}

func newBench(tb testing.TB, tenants int) *bench {
	tb.Helper()
	b := &bench{}
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	ca := pkitest.NewCA(tb, "CA")
	cert := ca.Issue(tb, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/tenant-7/agent"}})
	bundle, err := pki.NewBundle([]*x509.Certificate{ca.Cert})
	must(err)
	chain := []*x509.Certificate{cert.Leaf, ca.Cert}
	b.peer = pki.NewPeer(chain[:1], bundle, [][]*x509.Certificate{chain})

	list, entries := make([]*tenant.Tenant, tenants), make([]apikey.Entry, tenants)
	for i := range list {
		id := fmt.Sprintf("tenant-%d", i)
		list[i] = &tenant.Tenant{ID: id, SANs: []string{"uri:spiffe://example.org/tenant/" + id + "/*"}, Enabled: true, SecondFactor: tenant.Required}
		key, keyID, err := apikey.Mint()
		must(err)
		entries[i] = apikey.Entry{ID: keyID, Tenant: id, Digest: apikey.Digest(key)}
		if i == 7 {
			b.apiKey = key
		}
	}
	table, err := tenant.NewTable(list)
	must(err)
	ring, err := apikey.NewRing(entries)
	must(err)
	builtins, err := tool.Builtins(func() []tool.GateCertificate { return nil }, time.Now)
	must(err)
	catalog, err := tool.NewCatalog(builtins)
	must(err)

	b.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &b.key.PublicKey, KeyID: "k", Use: "sig", Algorithm: "ES256"}}})
	must(err)
	file := filepath.Join(tb.TempDir(), "jwks.json")
	must(os.WriteFile(file, jwks, 0o600))
	set, err := keyset.New(keyset.Options{Issuer: "https://issuer.example", File: file})
	must(err)
	must(set.Reload())
	b.issuer = &jwt.Issuer{Name: "bench", URL: "https://issuer.example", Audiences: []string{"gate"}, Scopes: []string{"mcp.call"},
		Binding: jwt.BindingIfPresent, Skew: time.Minute, TenantClaim: "tenant", Keys: set}
	b.gate = auth.NewGate(&auth.Snapshot{Generation: 1, PKI: &pki.Snapshot{Certificate: &cert.TLS, Bundle: bundle}, Tenants: table, Keys: ring,
		Tokens: jwt.NewVerifier([]*jwt.Issuer{b.issuer}), Tools: catalog}, time.Now)
	return b
}

// token is one like those of an issuer that says a lot.
func (b *bench) token(tb testing.TB, n int) string {
	tb.Helper()
	now := time.Now()
	claims, err := json.Marshal(map[string]any{"iss": "https://issuer.example", "aud": "gate", "sub": "agent-7", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(),
		"nbf": now.Unix(), "scope": "openid mcp.call", "tenant": "tenant-7", "jti": n, "azp": "11111111-2222-3333-4444-555555555555", "ver": "2.0",
		"cnf": map[string]string{"x5t#S256": base64.RawURLEncoding.EncodeToString(b.peer.Identity.Fingerprint[:])}})
	if err != nil {
		tb.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	signed := enc([]byte(`{"alg":"ES256","kid":"k","typ":"at+jwt"}`)) + "." + enc(claims)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, b.key, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	return signed + "." + enc(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func (b *bench) request(token string) auth.Request {
	return auth.Request{Peer: b.peer, Authorization: []string{"Bearer " + token}, TenantHeader: []string{"tenant-7"}}
}

// decide decides up to the policy on a tool.
func (b *bench) decide(r auth.Request) auth.Reason {
	d := b.gate.Decide(r)
	d.Call(context.Background(), "whoami", nil)
	return d.Reason
}

// A decision with a token that was verified before, and one with a key, allocate
// nothing.
func TestDecideAllocations(t *testing.T) {
	b := newBench(t, 10)
	for name, r := range map[string]auth.Request{"JWT": b.request(b.token(t, 0)), "API key": b.request(b.apiKey)} {
		if reason := b.decide(r); reason != auth.OK {
			t.Fatalf("%s: %s", name, reason)
		}
		if n := testing.AllocsPerRun(200, func() { b.decide(r) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkDecide is a whole decision: certificate, token, tenant header, policy
// on a tool; with 10 rules and with 100,000.
func BenchmarkDecide(b *testing.B) {
	for _, tenants := range []int{10, 100_000} {
		gate := newBench(b, tenants)
		for name, r := range map[string]auth.Request{"JWT again": gate.request(gate.token(b, 0)), "API key": gate.request(gate.apiKey)} {
			b.Run(fmt.Sprintf("%s/%d rules", name, tenants), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if reason := gate.decide(r); reason != auth.OK {
						b.Fatal(reason)
					}
				}
			})
		}
	}
}

// BenchmarkDecideCold sets the first decision on an ES256 token beside the bare
// check of its signature, in turns.
func BenchmarkDecideCold(b *testing.B) {
	gate := newBench(b, 10)
	tokens := make([]auth.Request, 2000)
	for i := range tokens {
		tokens[i] = gate.request(gate.token(b, i))
	}
	n := 0
	var bare, cold time.Duration
	for b.Loop() {
		if n++; n == len(tokens) {
			n = 0
			next := *gate.gate.Snapshot()
			next.Tokens = jwt.NewVerifier([]*jwt.Issuer{gate.issuer}) // which has seen none
			gate.gate.Swap(&next)
		}
		start := time.Now()
		if !signed(&gate.key.PublicKey, tokens[n].Authorization[0][len("Bearer "):]) {
			b.Fatal("bad signature")
		}
		half := time.Now()
		if reason := gate.decide(tokens[n]); reason != auth.OK {
			b.Fatal(reason)
		}
		bare, cold = bare+half.Sub(start), cold+time.Since(half)
	}
	b.ReportMetric(float64(bare)/float64(b.N), "bare-ns")
	b.ReportMetric(float64(cold)/float64(b.N), "cold-ns")
	b.ReportMetric(float64(cold)/float64(bare), "ratio")
}

// signed checks the signature of a token and nothing else.
func signed(key *ecdsa.PublicKey, token string) bool {
	i := strings.LastIndexByte(token, '.')
	sig, err := base64.RawURLEncoding.DecodeString(token[i+1:])
	sum := crypto.SHA256.New()
	sum.Write([]byte(token[:i]))
	return err == nil && len(sig) == 64 && ecdsa.Verify(key, sum.Sum(nil), new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
}
