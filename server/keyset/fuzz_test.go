package keyset_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sangate/sangate/server/keyset"
)

// FuzzParse checks that a key set holds nothing but public keys of the accepted
// kinds and sizes, each as go-jose reads it, each under one id.
//
// Holds: upstream/hostile-key-set
func FuzzParse(f *testing.F) {
	for _, s := range []string{setOf(ec("one"), ec("two", `"use":"sig"`)), setOf(ec("one"), ec("one")), setOf(ec("a", `"d":"AA"`)), `{"keys":[{"kty":"oct","k":"AA","kid":"a"}]}`,
		`{"keys":null}`, `{"keys":[1,{}]}`, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"e","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`,
		`{"keys":[{"kty":"RSA","kid":"r","e":"AQAB","n":"` + strings.Repeat("3", 342) + `"}]}`, `{"keys":[{"kty":"RSA","kid":"r","e":"AA","n":"` + strings.Repeat("3", 342) + `"}]}`,
		`{"keys":[{"kty":"EC","crv":"P-256","kid":"z","x":"","y":""}]}`, `{"keys":` + strings.Repeat("[", 500) + `}`, `{"Keys":[]}`,
		setOf(ec("a", `"x5c":["AAAA"]`)), setOf(ec("a", `"x5u":"https://evil.example"`))} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := keyset.Parse(data)
		if (k == nil) == (err == nil) {
			t.Fatalf("%v, %v", k, err)
		}
		if err != nil {
			return
		}
		var set struct{ Keys []json.RawMessage }
		if err := json.Unmarshal(data, &set); err != nil {
			t.Fatalf("took %q: %v", data, err)
		}
		byID := make(map[string]*jose.JSONWebKey)
		for _, raw := range set.Keys {
			var key jose.JSONWebKey
			if key.UnmarshalJSON(raw) == nil {
				byID[key.KeyID] = &key
			}
		}
		if len(k.IDs()) == 0 || len(k.IDs())+len(k.PassedOver) > 2*len(set.Keys) {
			t.Errorf("%d keys, %d passed over, of %d", len(k.IDs()), len(k.PassedOver), len(set.Keys))
		}
		for _, id := range k.IDs() {
			key := k.Lookup(id)
			if id == "" || len(id) > 256 || key.ID != id || byID[id] == nil || !byID[id].IsPublic() || !byID[id].Valid() {
				t.Fatalf("%q: %+v", id, key)
			}
			checkKey(t, key, byID[id])
		}
	})
}

func checkKey(t *testing.T, key *keyset.Key, want *jose.JSONWebKey) {
	prefix, same := "", false
	switch public := key.Public.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < 2048 || bits > 8192 || public.E < 3 {
			t.Errorf("RSA of %d bits with exponent %d", bits, public.E)
		}
		prefix, same = "RS", public.Equal(want.Key)
	case *ecdsa.PublicKey:
		if _, err := public.ECDH(); err != nil {
			t.Errorf("not on its curve: %v", err)
		}
		prefix, same = "ES", public.Equal(want.Key)
	case ed25519.PublicKey:
		prefix, same = "EdDSA", len(public) == ed25519.PublicKeySize && public.Equal(want.Key)
	}
	if !same {
		t.Errorf("%T is not what go-jose reads", key.Public)
	}
	for _, alg := range key.Algorithms {
		if !strings.HasPrefix(string(alg), prefix) {
			t.Errorf("a %T signs with %s", key.Public, alg)
		}
	}
}

// documents is a transport that answers every request with one document.
type documents struct {
	body string
	sent []*url.URL
}

func (d *documents) RoundTrip(r *http.Request) (*http.Response, error) {
	d.sent = append(d.sent, r.URL)
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(d.body)), Request: r}, nil
}

// FuzzDiscovery checks that an issuer's discovery document leads to at most one
// more request, over TLS or to loopback, and only if it names the issuer exactly.
//
// Holds: upstream/hostile-discovery
func FuzzDiscovery(f *testing.F) {
	const issuer = "https://issuer.example"
	for _, s := range []string{`{"issuer":"https://issuer.example","jwks_uri":"https://issuer.example/jwks"}`, `{"issuer":"https://issuer.example/","jwks_uri":"https://x/"}`,
		`{"issuer":"https://issuer.example","jwks_uri":"http://169.254.169.254/"}`, `{"issuer":"https://issuer.example","jwks_uri":"file:///etc/passwd"}`,
		`{"issuer":"https://issuer.example","jwks_uri":"http://127.0.0.1@evil.example/"}`, `{"issuer":"https://issuer.example","jwks_uri":"http://127.0.0.1.evil.example/"}`,
		`{"issuer":"x","issuer":"https://issuer.example"}`, `{"Issuer":"https://issuer.example"}`, `{"issuer":"https://issuer.example","jwks_uri":"https:opaque"}`,
		`{"issuer":"https://issuer.example","jwks_uri":"https://[::1%25eth0]/"}`, `[]`, ``} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		d := &documents{body: body}
		s, err := keyset.New(keyset.Options{Issuer: issuer, Client: &http.Client{Transport: d}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		ran := make(chan struct{})
		go func() { defer close(ran); s.Run(ctx) }()
		s.Await(ctx, nil)
		cancel()
		<-ran
		if len(d.sent) > 2 {
			t.Fatalf("%d requests", len(d.sent))
		}
		if len(d.sent) < 2 {
			return
		}
		var doc struct {
			Issuer string `json:"issuer"`
		}
		if err := json.Unmarshal([]byte(body), &doc); err != nil || doc.Issuer != issuer {
			t.Errorf("%q was followed", body)
		}
		at := d.sent[1]
		loopback := at.Scheme == "http" && (at.Hostname() == "localhost" || at.Hostname() == "::1" || strings.HasPrefix(at.Hostname(), "127."))
		if at.Host == "" || at.User != nil || at.Scheme != "https" && !loopback {
			t.Errorf("asks %s", at)
		}
	})
}
