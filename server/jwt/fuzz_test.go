package jwt_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sangate/sangate/server/jwt"
)

var signatureAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

// FuzzToken checks the token reader against go-jose and encoding/json: it takes
// nothing that they refuse, reads the same issuer, audience and expiry, and never
// two texts for one signed token. Only text that the issuer signed verifies.
//
// Holds: client/token-forgery
func FuzzToken(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	key := newKey(f)
	v := jwt.NewVerifier([]*jwt.Issuer{issuer(keys(f, jwk(f, "k1", key.Public(), nil)))})
	head, claims := good(now)
	signed := compact(f, key, head, claims)
	add := func(token string) {
		h, rest, _ := strings.Cut(token, ".")
		p, s, _ := strings.Cut(rest, ".")
		hd, _ := b64.DecodeString(h)
		pd, _ := b64.DecodeString(p)
		f.Add(hd, pd, s, token)
	}
	add(signed)
	for _, h := range []m{{"alg": "none"}, {"alg": "nOnE"}, {"alg": "HS256"}, {"alg": "PS256"}, {"kid": "../../x"}, {"kid": nil}, {"kid": "' OR 1=1"},
		{"crit": []string{"exp"}}, {"jku": "https://evil.example/jwks"}, {"jwk": m{}}, {"typ": "dpop+jwt"}, {"b64": false}} {
		add(compact(f, key, head.with(h), claims))
	}
	for _, c := range []m{{"exp": nil}, {"exp": "1"}, {"exp": 1e300}, {"exp": -1}, {"aud": []any{"gate", "x"}}, {"aud": []any{1}}, {"iss": "https://issuer.example/"},
		{"cnf": m{"x5t#S256": "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}}, {"cnf": m{"jkt": "x"}}, {"scp": "a b"}, {"nbf": 0.5}} {
		add(compact(f, key, head, claims.with(c)))
	}
	add(compact(f, key, head, `{"iss":"https://issuer.example","iss":"x","exp":9999999999}`))
	add(compact(f, key, head, `{"iss":"https://issuer.example","\u0069ss":"x","exp":9999999999}`))
	add(compact(f, key, head, `{"iss":"https://issuer.example","ISS":"x","exp":9999999999}`))
	f.Add([]byte(`{"alg":"ES256","kid":"k1"}`), []byte(strings.Repeat("[", 5000)), "AA", signed+"=")
	f.Add([]byte("{}"), []byte("{}"), "AA", signed[:len(signed)-1]+"\n")

	f.Fuzz(func(t *testing.T, head, payload []byte, signature, raw string) {
		made := b64.EncodeToString(head) + "." + b64.EncodeToString(payload) + "." + signature
		for _, text := range []string{made, raw} {
			checkToken(t, text)
			if token, _ := v.Verify(text, now); token == nil {
				continue
			}
			// Whoever holds the token can make other signatures of ECDSA, not other contents.
			if text[:strings.LastIndexByte(text, '.')] != signed[:strings.LastIndexByte(signed, '.')] {
				object, err := jose.ParseSignedCompact(text, signatureAlgorithms)
				if err == nil {
					_, err = object.Verify(key.Public())
				}
				if err != nil {
					t.Errorf("verified %q, go-jose: %v", text, err)
				}
			}
		}
	})
}

// checkToken holds what is read of a token without keys against the references.
func checkToken(t *testing.T, text string) {
	claim, refused := jwt.Unverified(text)
	if refused != nil {
		if strings.ContainsAny(refused.Detail, "\n\r\x1b\x00") || len(refused.Detail) > 1000 {
			t.Errorf("detail is not one short line: %q", refused.Detail)
		}
		return
	}
	object, err := jose.ParseSignedCompact(text, signatureAlgorithms)
	if err != nil {
		t.Fatalf("took %q, go-jose: %v", text, err)
	}
	// go-jose writes the header anew, so its text says nothing of ours.
	for part := range strings.SplitSeq(text, ".") {
		if data, err := b64.DecodeString(part); err != nil || b64.EncodeToString(data) != part {
			t.Fatalf("two texts for one token: %q in %q, %v", part, text, err)
		}
	}
	var want map[string]json.RawMessage
	if err := json.Unmarshal(object.UnsafePayloadWithoutVerification(), &want); err != nil {
		t.Fatalf("took %q: %v", text, err)
	}
	var issuer string
	var expires float64
	if json.Unmarshal(want["iss"], &issuer) != nil || json.Unmarshal(want["exp"], &expires) != nil {
		t.Fatalf("took the claims %q", want)
	}
	if claim.Issuer != issuer || claim.Expires.Unix() != int64(expires) {
		t.Errorf("read iss %q and exp %d, want %q and %d", claim.Issuer, claim.Expires.Unix(), issuer, int64(expires))
	}
	if aud, ok := want["aud"]; ok {
		var one string
		var many []string
		if json.Unmarshal(aud, &one) == nil && aud[0] == '"' {
			many = []string{one}
		} else if err := json.Unmarshal(aud, &many); err != nil {
			t.Fatalf("took the audience %s: %v", aud, err)
		}
		if !slices.Equal(claim.Audience, many) {
			t.Errorf("read aud %q, want %q", claim.Audience, many)
		}
	}
}
