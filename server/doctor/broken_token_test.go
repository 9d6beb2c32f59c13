package doctor_test

import (
	"encoding/base64"
	"encoding/hex"
	"path/filepath"
	"strings"
	"time"

	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/doctor"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/store"
)

// scopes stands in the configuration of the issuer.
const scopes = "scopes: [MCP.Call]"

var brokenTokens = []setup{
	{"no token", "request", "token_missing", "401", token(nil)},
	{"an empty token file", "token", "token_missing", "empty", text("")},
	{"Bearer in the token file", "token", "token_malformed", "character 7", text("Bearer x")},
	{"a line break", "token", "token_malformed", `character 4 is '\\n'`, text("sgk\n_x")},
	{"a token of more than 8 KiB", "token", "token_malformed", "at most 8192", text(strings.Repeat("x", 40<<10))},
	{"a key mistyped", "token", "token_unknown", "checksum", token(func(w *world, _ *doctor.Options) string { return w.Key("acme")[:64] + "_" })},
	{"a key of another gate", "request", "token_unknown", "Invalid token", text("some-other-key")},
	{"a key that is over", "request", "token_unknown", "`sangate token list`", key("notAfter: 2020-01-01T00:00:00Z")},
	{"a key pinned to another name", "request", "token_unknown", "`sangate token list`", key(`san: "dns:else.example"`)},
	{"a key that is revoked", "request", "token_unknown", "`sangate token list`", token(func(w *world, _ *doctor.Options) string { return w.revoked() })},
	{"globex's key", "request", "tenant_mismatch", "of another", token(func(w *world, _ *doctor.Options) string { return w.Key("globex") })},
	{"token over", "token", "token_expired", "ended at", claims(servertest.Claims{"exp": ago(1).Unix()})},
	{"token just over", "request", "token_expired", "ended at", configured(scopes, scopes+"\n    clockSkew: 1s", claims(servertest.Claims{"exp": time.Now().Add(-10 * time.Second).Unix()}))},
	{"token over for the gate", "request", "token_expired", "ended at", claims(servertest.Claims{"exp": time.Now().Add(-3 * time.Minute).Unix()})},
	{"token a little too young", "request", "token_not_yet_valid", "begins at", claims(servertest.Claims{"nbf": time.Now().Add(4 * time.Minute).Unix()})},
	{"token too young", "token", "token_not_yet_valid", "begins at", claims(servertest.Claims{"nbf": ago(-1).Unix()})},
	{"token of another issuer", "token", "token_issuer", "takes tokens of", claims(servertest.Claims{"iss": "https://else.example"})},
	{"token for another API", "token", "token_audience", "takes tokens for gate", claims(servertest.Claims{"aud": "else"})},
	{"token without scope", "request", "token_scope", "MCP.Call", claims(servertest.Claims{"scp": "Else"})},
	{"token of another certificate", "token", "binding_mismatch", "another certificate",
		claims(servertest.Claims{"cnf": map[string]string{"x5t#S256": base64.RawURLEncoding.EncodeToString(make([]byte, 32))}})},
	{"token that nobody signed", "token", "token_algorithm", "none", token(func(w *world, _ *doctor.Options) string {
		return w.issuer.Sign(servertest.Claims{"alg": "none", "kid": "k1"}, w.claims())
	})},
	{"token changed on its way", "request", "token_signature", "signature is not", token(func(w *world, _ *doctor.Options) string {
		good := w.issuer.Token(w.claims())
		return good[:len(good)-8] + "AAAAAAAA"
	})},
	{"a token of an unpublished key", "request", "token_signature", "kid", token(func(w *world, _ *doctor.Options) string {
		return w.issuer.Sign(servertest.Claims{"alg": "ES256", "kid": "k9"}, w.claims())
	})},
	{"a token that is not bound", "request", "token_signature", "bound to the certificate", configured(scopes, scopes+"\n    binding: required", claims(nil))},
	{"token of globex", "request", "tenant_mismatch", "of another", claims(servertest.Claims{"tenant": "globex"})},
	{"an issuer that does not answer", "request", "jwks_unavailable", "503", claims(servertest.Claims{"iss": "https://127.0.0.1:1"})},
	{"header of another tenant", "request", "header_mismatch", "without X-Octopus-Tenant-Id", header("globex")},
	{"a line break in the header", "request", "header_malformed", `character 2 is '\\n'`, header("a\nb")},
	{"header that is a list", "request", "header_malformed", "400", header("acme,globex")},
	{"a name that no rule has", "request", "san_unmapped", "as well", func(w *world, o *doctor.Options) func() {
		w.show(o, w.Gate.Cert("initech"))
		return func() { w.show(o, w.Gate.Cert("acme")) }
	}},
	{"a tool that the tenant has not", "request", "tool_denied", `"zendesk_get_ticket" is not`, func(_ *world, o *doctor.Options) func() {
		o.Tool = "zendesk_get_ticket"
		return func() { o.Tool = "echo" }
	}},
}

func token(of func(w *world, o *doctor.Options) string) func(*world, *doctor.Options) func() {
	return func(w *world, o *doctor.Options) func() {
		good := o.Token
		o.Token = nil
		if of != nil {
			o.Token = new(of(w, o))
		}
		return func() { o.Token = good }
	}
}

func text(s string) func(*world, *doctor.Options) func() {
	return token(func(*world, *doctor.Options) string { return s })
}

// claims has the client send a JWT with something changed; without the change it
// is let in.
func claims(change servertest.Claims) func(*world, *doctor.Options) func() {
	return func(w *world, o *doctor.Options) func() {
		o.Token = new(w.issuer.Token(w.claims().With(change)))
		return func() { o.Token = new(w.issuer.Token(w.claims())) }
	}
}

func (w *world) claims() servertest.Claims {
	return w.issuer.Claims("acme").With(servertest.Claims{"scp": "MCP.Call"})
}

func header(value string) func(*world, *doctor.Options) func() {
	return func(_ *world, o *doctor.Options) func() {
		o.TenantHeader = &value
		return func() { o.TenantHeader = new("acme") }
	}
}

// key has the client send a key of acme's with something more in its configuration.
func key(more string) func(*world, *doctor.Options) func() {
	return func(w *world, o *doctor.Options) func() {
		text, id, err := apikey.Mint()
		if err != nil {
			w.Fatal(err)
		}
		digest := apikey.Digest(text)
		entry := "keys: [{id: " + id + ", sha256: " + hex.EncodeToString(digest[:]) + ", " + more + "}, "
		return configured("keys: [", entry, token(func(*world, *doctor.Options) string { return text }))(w, o)
	}
}

// revoked returns a key of acme's that the gate knows to be revoked.
func (w *world) revoked() string {
	w.Helper()
	s, err := store.Open(w.Context(), filepath.Join(w.Dir, "state"), store.Options{})
	if err != nil {
		w.Fatal(err)
	}
	defer s.Close()
	text, id, err := apikey.Mint()
	if err != nil {
		w.Fatal(err)
	}
	if err := s.AddKey(w.Context(), apikey.Entry{ID: id, Tenant: "acme", Digest: apikey.Digest(text)}, ""); err != nil {
		w.Fatal(err)
	}
	if err := s.RevokeKey(w.Context(), id, time.Now()); err != nil {
		w.Fatal(err)
	}
	o := w.client()
	o.Token = &text
	revoked := func() float64 { return w.Metric("sangate_auth_decisions_total", "reason", "token_revoked") }
	before := revoked()
	// The gate may have heard of the key before it was revoked.
	if !servertest.WaitFor(func() bool { w.send(o); return revoked() > before }, 5*time.Second) {
		w.Fatal("the gate does not hear of it")
	}
	return text
}
