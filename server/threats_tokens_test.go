package server_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// withIssuer is a gate that takes the tokens of an issuer, too.
func withIssuer(t *testing.T, now func() time.Time, more ...string) (*servertest.Gate, *servertest.Issuer) {
	t.Helper()
	i := servertest.NewIssuer(t)
	return servertest.Start(t, servertest.Options{Now: now, Config: func(yaml string) string { return yaml + i.Config(more...) }}), i
}

// claims is short for what a test changes.
type claims = servertest.Claims

func jwtOf(token string) string { return "Authorization: Bearer " + token }

// Every line of threats.md under Tokens that is about one token, over a real
// listener; where no reason stands it must get in.
//
// Holds: client/token-forgery
func TestTokens(t *testing.T) {
	t.Parallel()
	var seen atomic.Int32 // whoever fetches a key from where a token says
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen.Add(1) }))
	t.Cleanup(trap.Close)
	frozen := time.Now().Truncate(time.Second)
	var log safeLog
	i := servertest.NewIssuer(t)
	g := servertest.Start(t, servertest.Options{Log: &log, Now: func() time.Time { return frozen },
		Config: func(yaml string) string {
			return yaml + i.Config("tenantClaim: tenant", "scopes: [MCP.Call]", "roles: [MCP.Call.All]")
		}})
	client := g.Client(g.Cert("acme"))
	head, good := claims{"alg": "ES256", "kid": "k1"}, i.Claims("acme").With(claims{"scp": "MCP.Call"})
	sign := func(h, c claims) string { return i.Sign(head.With(h), good.With(c)) }
	text := func(edit func(string) string) string {
		parts := strings.Split(i.Token(good), ".")
		payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
		return i.SignText(head, []byte(edit(string(payload))))
	}
	at := func(d time.Duration) int64 { return frozen.Add(d).Unix() }
	app := claims{"scp": nil, "idtyp": "app", "roles": []string{"MCP.Call.All"}}
	for name, tc := range map[string]struct{ token, reason string }{
		"good":                         {sign(nil, nil), ""},
		"alg none":                     {sign(claims{"alg": "none"}, nil), "token_algorithm"},
		"alg nOnE":                     {sign(claims{"alg": "nOnE"}, nil), "token_algorithm"},
		"alg none, no signature":       {unsigned(sign(claims{"alg": "none"}, nil)), "token_malformed"},
		"HS256 with the public key":    {hs256(t, i, head, sign(nil, nil)), "token_algorithm"},
		"kid absent":                   {sign(claims{"kid": nil}, nil), "token_key_unknown"},
		"kid ../../x":                  {sign(claims{"kid": "../../x"}, nil), "token_key_unknown"},
		"kid ' OR 1=1":                 {sign(claims{"kid": "' OR 1=1"}, nil), "token_key_unknown"},
		"kid of 5 KB":                  {sign(claims{"kid": strings.Repeat("k", 5000)}, nil), "token_key_unknown"},
		"jku":                          {sign(claims{"jku": trap.URL}, nil), "token_malformed"},
		"x5u":                          {sign(claims{"x5u": trap.URL}, nil), "token_malformed"},
		"jwk":                          {sign(claims{"jwk": map[string]string{"kty": "EC"}}, nil), "token_malformed"},
		"iss elsewhere":                {sign(nil, claims{"iss": trap.URL}), "token_issuer"},
		"unknown crit":                 {sign(claims{"crit": []string{"x"}, "x": 1}, nil), "token_malformed"},
		"exp missing":                  {sign(nil, claims{"exp": nil}), "token_malformed"},
		"exp a string":                 {sign(nil, claims{"exp": fmt.Sprint(at(time.Hour))}), "token_malformed"},
		"exp 1e300":                    {sign(nil, claims{"exp": 1e300}), "token_malformed"},
		"exp within the skew":          {sign(nil, claims{"exp": at(-60 * time.Second)}), ""},
		"exp beyond the skew":          {sign(nil, claims{"exp": at(-61 * time.Second)}), "token_expired"},
		"nbf ahead":                    {sign(nil, claims{"nbf": at(61 * time.Second)}), "token_not_yet_valid"},
		"nbf ahead within the skew":    {sign(nil, claims{"nbf": at(60 * time.Second)}), ""},
		"aud array with ours":          {sign(nil, claims{"aud": []string{"other", "gate"}}), ""},
		"aud array without ours":       {sign(nil, claims{"aud": []string{"other", "gat"}}), "token_audience"},
		"iss with trailing slash":      {sign(nil, claims{"iss": i.URL + "/"}), "token_issuer"},
		"duplicate iss":                {text(func(s string) string { return strings.Replace(s, "{", `{"iss":"x",`, 1) }), "token_malformed"},
		"AUD instead of aud":           {sign(nil, claims{"aud": nil, "AUD": "gate"}), "token_audience"},
		"signature of another token":   {graft(sign(nil, nil), sign(nil, claims{"jti": "2"})), "token_signature"},
		"scp in an application's":      {sign(nil, app.With(claims{"scp": "MCP.Call"})), "token_scope"},
		"roles of an application":      {sign(nil, app), ""},
		"roles in a user's":            {sign(nil, app.With(claims{"idtyp": "user"})), "token_scope"},
		"roles without idtyp":          {sign(nil, app.With(claims{"idtyp": nil})), "token_scope"},
		"scp of another API":           {sign(nil, claims{"scp": "User.Read"}), "token_scope"},
		"another tenant's":             {sign(nil, claims{"tenant": "globex"}), "tenant_mismatch"},
		"nobody's":                     {sign(nil, claims{"tenant": nil}), "tenant_mismatch"},
		"DPoP":                         {sign(nil, claims{"cnf": map[string]string{"jkt": strings.Repeat("A", 43)}}), "binding_mismatch"},
		"bound to another certificate": {sign(nil, claims{"cnf": map[string]string{"x5t#S256": strings.Repeat("A", 43)}}), "binding_mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if parts := strings.Split(tc.token, "."); strings.Contains(log.String(), parts[1]) || parts[2] != "" && strings.Contains(log.String(), parts[2]) {
					t.Error("the token is in the log")
				}
			}()
			before := g.By(decisions, "reason")
			if tc.reason == "" {
				for _, res := range everywhere(t, g, client, jwtOf(tc.token)) {
					if res.StatusCode != 200 {
						t.Errorf("%s: %s", res.Request.URL.Path, res.Status)
					}
				}
				wantChange(t, g, decisions, "reason", before, map[string]float64{"ok": 3})
				return
			}
			status, code, challenge := 401, "unauthorized", `scope="MCP.Call", error="invalid_token"`
			switch tc.reason {
			case "token_scope":
				status, code, challenge = 403, "insufficient_scope", `scope="MCP.Call", error="insufficient_scope"`
			case "tenant_mismatch":
				status, code = 403, "forbidden"
			}
			for _, res := range everywhere(t, g, client, jwtOf(tc.token)) {
				wantError(t, res, status, code)
				if got := res.Header.Get("WWW-Authenticate"); !strings.HasSuffix(got, challenge) {
					t.Errorf("WWW-Authenticate %q", got)
				}
			}
			wantChange(t, g, decisions, "reason", before, map[string]float64{tc.reason: 3})
		})
	}
	t.Run("kid of 1 MB", func(t *testing.T) {
		res, err := try(t, client, http.MethodGet, g.URL+"/tools", "", jwtOf(sign(claims{"kid": strings.Repeat("k", 1<<20)}, nil)))
		if err == nil && res.StatusCode < 400 {
			t.Error(res.Status)
		}
	})
	t.Run("over 8 KiB", func(t *testing.T) {
		wantError(t, ask(t, client, http.MethodGet, g.URL+"/tools", "", jwtOf(sign(nil, claims{"pad": strings.Repeat("x", 8<<10)}))), 400, "bad_request")
	})
	if n := seen.Load(); n != 0 {
		t.Errorf("%d requests went where a token said", n)
	}
}

// unsigned takes the signature off.
func unsigned(token string) string { return token[:strings.LastIndexByte(token, '.')+1] }

// graft puts the signature of one token under another.
func graft(token, other string) string {
	return unsigned(token) + other[strings.LastIndexByte(other, '.')+1:]
}

// hs256 signs with what everybody knows, as a library would check that goes by
// the token's own alg.
func hs256(t *testing.T, i *servertest.Issuer, head claims, token string) string {
	t.Helper()
	parts := strings.Split(i.Sign(head.With(claims{"alg": "HS256"}), claims{}), ".")
	signed := parts[0] + "." + strings.Split(token, ".")[1]
	mac := hmac.New(sha256.New, i.JWKS())
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// A safeLog is a log that can be read while it is written.
type safeLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// leafUntil is a certificate of acme that is good for so long.
func leafUntil(d time.Duration) pkitest.Leaf {
	return pkitest.Leaf{URIs: []string{acmeURI}, NotAfter: time.Now().Add(d)}
}

func writeTemp(t *testing.T, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
