package jwt_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sangate/sangate/server/jwt"
	"github.com/sangate/sangate/server/keyset"
)

// m is a JSON object.
type m map[string]any

// with returns a copy with other members; nil takes one away.
func (o m) with(changes m) m {
	out := maps.Clone(o)
	for k, v := range changes {
		if out[k] = v; v == nil {
			delete(out, k)
		}
	}
	return out
}

func text(t testing.TB, v any) string {
	t.Helper()
	if s, ok := v.(string); ok {
		return s
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var b64 = base64.RawURLEncoding

// compact signs header and claims as they stand.
func compact(t testing.TB, key *ecdsa.PrivateKey, head, claims any) string {
	t.Helper()
	signed := b64.EncodeToString([]byte(text(t, head))) + "." + b64.EncodeToString([]byte(text(t, claims)))
	digest := crypto.SHA256.New()
	digest.Write([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return signed + "." + b64.EncodeToString(sig)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// jwk describes a public key.
func jwk(t testing.TB, kid string, key any, more m) string {
	t.Helper()
	data, err := (&jose.JSONWebKey{Key: key, KeyID: kid}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var o m
	if err := json.Unmarshal(data, &o); err != nil {
		t.Fatal(err)
	}
	return text(t, o.with(more))
}

// keys is a set from a file of these JWKs.
func keys(t testing.TB, jwks ...string) *keyset.Set {
	t.Helper()
	file := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(file, []byte(fmt.Sprintf(`{"keys":[%s]}`, strings.Join(jwks, ","))), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := keyset.New(keyset.Options{Issuer: "https://issuer.example", File: file})
	if err == nil {
		err = s.Reload()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// issuer is a plain one.
func issuer(set *keyset.Set) *jwt.Issuer {
	return &jwt.Issuer{Name: "test", URL: "https://issuer.example", Audiences: []string{"gate"}, Skew: time.Minute, Keys: set,
		Binding: jwt.BindingIfPresent, TenantClaim: "tenant"}
}

func good(now time.Time) (head, claims m) {
	return m{"alg": "ES256", "kid": "k1", "typ": "at+jwt"},
		m{"iss": "https://issuer.example", "aud": "gate", "sub": "agent-7", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "tenant": "acme"}
}
