package jwt_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/jwt"
)

// Each token of the table is signed by the right key unless it says otherwise.
func TestVerify(t *testing.T) {
	key, other, now := newKey(t), newKey(t), time.Now()
	set := keys(t, jwk(t, "k1", &key.PublicKey, m{"alg": "ES256", "use": "sig"}), jwk(t, "k2", &other.PublicKey, nil),
		jwk(t, "theirs", &key.PublicKey, m{"issuer": "https://somebody.example"}))
	i := issuer(set)
	i.Scopes, i.Roles = []string{"MCP.Call"}, []string{"MCP.Call.All"}
	v := jwt.NewVerifier([]*jwt.Issuer{i})
	head, claims := good(now)
	claims["scp"] = "openid MCP.Call"
	thumb := strings.Repeat("A", 43)
	dup := strings.Replace(text(t, claims), "{", `{"iss":"https://issuer.example",`, 1)
	at := func(d time.Duration) int64 { return now.Truncate(time.Second).Add(d).Unix() }
	for _, tt := range []struct {
		name         string
		head, claims any
		want         pki.Reason
	}{
		{"good", head, claims, ""},
		{"scope as a list", head, claims.with(m{"scp": []string{"a", "MCP.Call"}}), ""},
		{"scope by its other name", head, claims.with(m{"scp": nil, "scope": "MCP.Call"}), ""},
		{"several audiences", head, claims.with(m{"aud": []string{"others", "gate"}}), ""},
		{"no typ", head.with(m{"typ": nil}), claims, ""},
		{"typ in full", head.with(m{"typ": "application/AT+JWT"}), claims, ""},
		{"an application", head, claims.with(m{"idtyp": "app", "scp": nil, "roles": []string{"MCP.Call.All"}}), ""},
		{"expired within the skew", head, claims.with(m{"exp": at(-59 * time.Second)}), ""},
		{"from within the skew", head, claims.with(m{"nbf": at(59 * time.Second)}), ""},
		{"half seconds", head, claims.with(m{"exp": float64(at(time.Minute)) + 0.5}), ""},
		{"AUD beside aud", head, claims.with(m{"AUD": "others", "ISS": "x"}), ""},
		{"bound", head, claims.with(m{"cnf": m{"x5t#S256": thumb}}), ""},

		{"alg none", head.with(m{"alg": "none"}), claims, jwt.Algorithm},
		{"alg nOnE", head.with(m{"alg": "nOnE"}), claims, jwt.Algorithm},
		{"no alg", head.with(m{"alg": nil}), claims, jwt.Algorithm},
		{"HS256", head.with(m{"alg": "HS256"}), claims, jwt.Algorithm},
		{"PS256", head.with(m{"alg": "PS256"}), claims, jwt.Algorithm},
		{"another kind's alg", head.with(m{"alg": "RS256"}), claims, jwt.Algorithm},
		{"no kid", head.with(m{"kid": nil}), claims, jwt.KeyUnknown},
		{"kid of a number", head.with(m{"kid": 1}), claims, jwt.KeyUnknown},
		{"kid as a path", head.with(m{"kid": "../../x"}), claims, jwt.KeyUnknown},
		{"kid as SQL", head.with(m{"kid": "' OR 1=1"}), claims, jwt.KeyUnknown},
		{"long kid", head.with(m{"kid": strings.Repeat("k", 257)}), claims, jwt.KeyUnknown},
		{"jku", head.with(m{"jku": "https://127.0.0.1/"}), claims, jwt.Malformed},
		{"x5u", head.with(m{"x5u": "https://127.0.0.1/"}), claims, jwt.Malformed},
		{"jwk", head.with(m{"jwk": m{"kty": "EC"}}), claims, jwt.Malformed},
		{"x5c", head.with(m{"x5c": []string{"AA=="}}), claims, jwt.Malformed},
		{"crit", head.with(m{"crit": []string{"b64"}, "b64": true}), claims, jwt.Malformed},
		{"typ of another thing", head.with(m{"typ": "dpop+jwt"}), claims, jwt.Malformed},
		{"alg twice", `{"alg":"ES256","alg":"ES256","kid":"k1"}`, claims, jwt.Malformed},
		{"header of a list", `["ES256"]`, claims, jwt.Malformed},
		{"more after the header", text(t, head) + "{}", claims, jwt.Malformed},
		{"another key", head.with(m{"kid": "k2"}), claims, jwt.Signature},
		{"a key for somebody else", head.with(m{"kid": "theirs"}), claims, jwt.IssuerWrong},

		{"iss twice", head, dup, jwt.Malformed},
		{"iss twice, once escaped", head, strings.Replace(dup, `"iss"`, `"\u0069ss"`, 1), jwt.Malformed},
		{"invalid UTF-8", head, strings.Replace(text(t, claims), "agent-7", "\xff", 1), jwt.Malformed},
		{"no iss", head, claims.with(m{"iss": nil}), jwt.IssuerWrong},
		{"iss with a slash", head, claims.with(m{"iss": "https://issuer.example/"}), jwt.IssuerWrong},
		{"iss in capitals", head, claims.with(m{"iss": "https://ISSUER.example"}), jwt.IssuerWrong},
		{"no exp", head, claims.with(m{"exp": nil}), jwt.Malformed},
		{"exp as a text", head, claims.with(m{"exp": fmt.Sprint(at(time.Hour))}), jwt.Malformed},
		{"exp without end", head, strings.Replace(text(t, claims), fmt.Sprint(at(time.Hour)), "1e300", 1), jwt.Malformed},
		{"exp before time", head, claims.with(m{"exp": -1}), jwt.Malformed},
		{"expired", head, claims.with(m{"exp": at(-61 * time.Second)}), jwt.Expired},
		{"not yet", head, claims.with(m{"nbf": at(62 * time.Second)}), jwt.NotYetValid},
		{"nbf as a text", head, claims.with(m{"nbf": "now"}), jwt.Malformed},
		{"iat of a list", head, claims.with(m{"iat": []int{1}}), jwt.Malformed},
		{"no aud", head, claims.with(m{"aud": nil}), jwt.Audience},
		{"AUD only", head, claims.with(m{"aud": nil, "AUD": "gate"}), jwt.Audience},
		{"others' aud", head, claims.with(m{"aud": []string{"a", "gates"}}), jwt.Audience},
		{"aud of numbers", head, claims.with(m{"aud": []any{"gate", 1}}), jwt.Malformed},
		{"no scope", head, claims.with(m{"scp": nil}), jwt.Scope},
		{"part of a scope", head, claims.with(m{"scp": "MCP.Call.All MCP"}), jwt.Scope},
		{"roles without idtyp", head, claims.with(m{"scp": nil, "roles": []string{"MCP.Call.All"}}), jwt.Scope},
		{"a user's roles", head, claims.with(m{"idtyp": "user", "scp": "x", "roles": []string{"MCP.Call.All"}}), jwt.Scope},
		{"an application with scopes", head, claims.with(m{"idtyp": "app", "roles": []string{"MCP.Call.All"}}), jwt.Scope},
		{"an application without the role", head, claims.with(m{"idtyp": "app", "scp": nil, "roles": []string{"MCP.Call"}}), jwt.Scope},
		{"cnf of a text", head, claims.with(m{"cnf": "x"}), jwt.Malformed},
		{"cnf too short", head, claims.with(m{"cnf": m{"x5t#S256": thumb[1:]}}), jwt.Malformed},
	} {
		token := compact(t, key, tt.head, tt.claims)
		for _, use := range []string{"first", "second"} {
			tok, err := v.Verify(token, now)
			switch {
			case tt.want == "" && (err != nil || tok.Tenant != "acme" || tok.Issuer != i || tok.Subject != "agent-7"):
				t.Errorf("%s, %s use: refused: %v, %+v", tt.name, use, err, tok)
			case tt.want != "" && (err == nil || err.Reason != tt.want):
				t.Errorf("%s, %s use: %v, want %s", tt.name, use, err, tt.want)
			case err != nil && (err.Missing != nil) != (err.Reason == jwt.KeyUnknown && !strings.Contains(err.Detail, "is needed")):
				t.Errorf("%s: worth waiting for: %v", tt.name, err.Missing)
			}
		}
	}
	for name, token := range map[string]string{
		"a line break": compact(t, key, head, claims) + "\n", "one inside": strings.Replace(compact(t, key, head, claims), ".", "\r\n.", 1),
		"a space": strings.Replace(compact(t, key, head, claims), ".", ". ", 1), "padded": compact(t, key, head, claims) + "==",
		"no signature":   strings.TrimRight(compact(t, key, head, claims), "-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"),
		"four parts":     compact(t, key, head, claims) + ".x",
		"the other bits": otherBits(compact(t, key, head, claims)),
		"no parts":       "x",
		"too long":       compact(t, key, head, claims.with(m{"pad": strings.Repeat("x", 8<<10)})),
	} {
		if _, err := v.Verify(token, now); err == nil || err.Reason != jwt.Malformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A signature of another length is none, even where the numbers in it are right.
func TestSignatureLength(t *testing.T) {
	key, now := newKey(t), time.Now()
	v := jwt.NewVerifier([]*jwt.Issuer{issuer(keys(t, jwk(t, "k1", &key.PublicKey, nil)))})
	token := compact(t, key, m{"alg": "ES256", "kid": "k1"}, m{"iss": "https://issuer.example", "aud": "gate", "exp": now.Add(time.Hour).Unix()})
	i := strings.LastIndexByte(token, '.')
	sig, err := b64.DecodeString(token[i+1:])
	if err != nil {
		t.Fatal(err)
	}
	zero := []byte{0}
	for name, other := range map[string][]byte{"short": sig[:63], "half": sig[:32], "one byte": sig[:1],
		"a zero between": slices.Concat(sig[:32], zero, sig[32:]), "a zero before": slices.Concat(zero, sig), "a zero behind": slices.Concat(sig, zero)} {
		if _, err := v.Verify(token[:i+1]+b64.EncodeToString(other), now); err == nil || err.Reason != jwt.Signature {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := v.Verify(token, now); err != nil {
		t.Error(err)
	}
}

// otherBits changes bits at the end that decode to nothing.
func otherBits(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last^1])
}

func TestAlgorithms(t *testing.T) {
	now := time.Now()
	small, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	v := jwt.NewVerifier([]*jwt.Issuer{issuer(keys(t, jwk(t, "rsa", &small.PublicKey, nil), jwk(t, "ed", public, m{"alg": "EdDSA"})))})
	for alg, key := range map[jose.SignatureAlgorithm]jose.JSONWebKey{
		jose.RS256: {Key: small, KeyID: "rsa"}, jose.RS512: {Key: small, KeyID: "rsa"}, jose.EdDSA: {Key: private, KeyID: "ed"},
	} {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, claims := good(now)
		jws, err := signer.Sign([]byte(text(t, claims)))
		if err != nil {
			t.Fatal(err)
		}
		token, _ := jws.CompactSerialize()
		if _, err := v.Verify(token, now); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		if _, err := v.Verify(token[:len(token)-8]+"AAAAAAAA", now); err == nil || err.Reason != jwt.Signature {
			t.Errorf("%s, changed: %v", alg, err)
		}
	}
}

// A token that was verified is looked at each time: its dates, and whether its
// keys may still be believed.
func TestSecondUse(t *testing.T) {
	key, now := newKey(t), time.Now()
	i := issuer(keys(t, jwk(t, "k1", &key.PublicKey, nil)))
	v := jwt.NewVerifier([]*jwt.Issuer{i})
	head, claims := good(now)
	token := compact(t, key, head, claims.with(m{"nbf": now.Unix()}))
	if _, err := v.Verify(token, now); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = v.Verify(token, now) }); n != 0 {
		t.Errorf("a second use allocates %v times", n)
	}
	if _, err := v.Verify(token, now.Add(time.Hour+62*time.Second)); err == nil || err.Reason != jwt.Expired {
		t.Errorf("after its end: %v", err)
	}
	if _, err := v.Verify(token, now.Add(-time.Hour)); err == nil || err.Reason != jwt.NotYetValid {
		t.Errorf("before its time: %v", err)
	}
	for n := range 64*256 + 5000 { // more than are held
		if _, err := v.Verify(fmt.Sprintf("%s.%d", "x.y", n), now); err == nil {
			t.Fatal("nonsense was taken")
		}
	}
	if _, err := v.Verify(token, now); err != nil {
		t.Errorf("nonsense drove it out: %v", err)
	}
}

func TestTenants(t *testing.T) {
	key, now := newKey(t), time.Now()
	const tid, other = "11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"
	i := issuer(keys(t, jwk(t, "k1", &key.PublicKey, m{"issuer": "https://login.example/{tenantid}/v2.0"})))
	i.URL, i.TenantClaim = "https://login.example/{tenantid}/v2.0", ""
	i.Mappings = []jwt.Mapping{
		{Tenant: "acme", Claims: map[string]string{"tid": tid, "azp": "agent"}},
		{Tenant: "globex", Claims: map[string]string{"tid": tid, "azp": "other"}},
		{Tenant: "globex", Claims: map[string]string{"sub": "both"}},
		{Tenant: "initech"}, // nobody's: it says nothing
	}
	v := jwt.NewVerifier([]*jwt.Issuer{i})
	head, claims := good(now)
	claims = claims.with(m{"iss": "https://login.example/" + tid + "/v2.0", "tid": tid, "azp": "agent"})
	for name, tt := range map[string]struct {
		claims m
		tenant string
		want   pki.Reason
	}{
		"mapped":              {claims, "acme", ""},
		"mapped to the other": {claims.with(m{"azp": "other"}), "globex", ""},
		"not mapped":          {claims.with(m{"azp": "nobody"}), "", ""},
		"mapped to two":       {claims.with(m{"sub": "both"}), "", ""},
		"tid of another iss":  {claims.with(m{"tid": other}), "", jwt.IssuerWrong},
		"no tid":              {claims.with(m{"tid": nil}), "", jwt.IssuerWrong},
		"tid that fits":       {claims.with(m{"iss": "https://login.example/x/v2.0", "tid": "x"}), "", jwt.IssuerWrong},
		"the template itself": {claims.with(m{"iss": i.URL, "tid": "{tenantid}"}), "", jwt.IssuerWrong},
	} {
		tok, err := v.Verify(compact(t, key, head, tt.claims), now)
		switch {
		case tt.want != "" && (err == nil || err.Reason != tt.want):
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		case tt.want == "" && (err != nil || tok.Tenant != tt.tenant):
			t.Errorf("%s: %+v, %v; want tenant %q", name, tok, err, tt.tenant)
		}
	}
}

// The certificate of RFC 8705, appendix A has this thumbprint.
func TestConfirmation(t *testing.T) {
	key, now := newKey(t), time.Now()
	v := jwt.NewVerifier([]*jwt.Issuer{issuer(keys(t, jwk(t, "k1", &key.PublicKey, nil)))})
	head, claims := good(now)
	const thumbprint = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"
	der, err := base64.StdEncoding.DecodeString("MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAx" +
		"ODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW" +
		"9OylMbnQZjjJ/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQE" +
		"KTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := pki.ParseIdentity(cert) // it has no SAN
	sum := id.Fingerprint
	for name, tt := range map[string]struct {
		cnf            any
		matches, other bool
	}{
		"bound":       {m{"x5t#S256": thumbprint}, true, false},
		"to another":  {m{"x5t#S256": "B" + thumbprint[1:]}, false, false},
		"DPoP":        {m{"jkt": thumbprint}, false, true},
		"both":        {m{"x5t#S256": thumbprint, "jkt": thumbprint}, true, true},
		"not bound":   {nil, false, false},
		"to anything": {m{}, false, false},
	} {
		tok, err := v.Verify(compact(t, key, head, claims.with(m{"cnf": tt.cnf})), now)
		if err != nil || tok.Binding.Matches(&sum) != tt.matches || tok.Binding.Other != tt.other {
			t.Errorf("%s: %+v, %v", name, tok, err)
		}
	}
}
