package jwt

import (
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of a token; the gate takes none over 8 KiB anyway.
const (
	maxText    = 8 << 10
	maxKeyID   = 256
	maxMembers = 200
)

// A header is what of the JOSE header counts (RFC 7515, 4.1).
type header struct {
	alg jose.SignatureAlgorithm
	kid string
}

// claims are what counts of the payload.
type claims struct {
	issuer, subject, client, tid string
	kind                         string // idtyp
	audience, scopes, roles      []string
	expires, notBefore           time.Time
	binding                      Confirmation

	members
}

// parts are those of a token (RFC 7515, 7.1).
type parts struct {
	head               header
	payload, signature []byte
	signed             []byte // what the signature is of
}

// open takes a token apart and reads its header, without believing it.
func open(text string) (*parts, *RefusedError) {
	if len(text) > maxText {
		return nil, refuse(Malformed, "%d bytes", len(text))
	}
	if strings.ContainsAny(text, "\r\n") { // which encoding/base64 passes over
		return nil, refuse(Malformed, "a line break")
	}
	var t parts
	var head []byte
	rest := text
	for i, into := range []*[]byte{&head, &t.payload, &t.signature} {
		part, after, more := strings.Cut(rest, ".")
		if more != (i < 2) {
			return nil, refuse(Malformed, "%d parts", strings.Count(text, ".")+1)
		}
		var err error
		if *into, err = encoding.DecodeString(part); err != nil || part == "" {
			return nil, refuse(Malformed, "part %d is empty or no base64url", i+1)
		}
		if i == 2 {
			t.signed = []byte(text[:len(text)-len(part)-1])
		}
		rest = after
	}
	object, err := parseObject(head, 8)
	if err != nil {
		return nil, refuse(Malformed, "its header is no JSON object with each name once: %.200s", err)
	}
	var refused *RefusedError
	t.head, refused = parseHeader(object)
	return &t, refused
}

// A Claim is what a token says of itself; nobody has verified it.
type Claim struct {
	Issuer             string
	Audience           []string
	Expires, NotBefore time.Time
	Binding            Confirmation
}

// Unverified reads a token without keys, as strictly as [Verifier.Verify] does: for
// whoever sends it, and wants to know what will be read.
func Unverified(text string) (*Claim, *RefusedError) {
	t, refused := open(text)
	if refused != nil {
		return nil, refused
	}
	c, refused := parseClaims(t.payload)
	if refused != nil {
		return nil, refused
	}
	return &Claim{c.issuer, c.audience, c.expires, c.notBefore, c.binding}, nil
}

// strange are header parameters that bring a key along, say where to fetch one,
// or that must be understood.
var strange = [...]string{"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"}

func parseHeader(m members) (head header, refused *RefusedError) {
	for _, name := range strange {
		if m.get(name) != nil {
			return head, refuse(Malformed, "header parameter %s", name)
		}
	}
	alg, ok := m.text("alg")
	if !ok {
		return head, refuse(Algorithm, "no alg")
	}
	if typ, ok := m.text("typ"); m.get("typ") != nil && (!ok || !accessToken(typ)) {
		return head, refuse(Malformed, "typ %.50q: no access token", typ)
	}
	if _, taken := algorithms[jose.SignatureAlgorithm(alg)]; !taken {
		return head, refuse(Algorithm, "alg %.20q", alg)
	}
	kid, ok := m.text("kid")
	if !ok || kid == "" || len(kid) > maxKeyID {
		return head, refuse(KeyUnknown, "a kid of 1 to %d bytes is needed", maxKeyID)
	}
	return header{jose.SignatureAlgorithm(alg), kid}, nil
}

// accessToken reports whether a token of that type can be one (RFC 9068, 2.1;
// RFC 8725, 3.11). JWT says nothing, and most issuers say it.
func accessToken(typ string) bool {
	short, _ := strings.CutPrefix(strings.ToLower(typ), "application/")
	return short == "jwt" || short == "at+jwt"
}

// parseClaims reads the payload, without believing it.
func parseClaims(payload []byte) (*claims, *RefusedError) {
	m, err := parseObject(payload, 24)
	if err != nil {
		return nil, refuse(Malformed, "its claims are no JSON object with each name once: %.200s", err)
	}
	c := &claims{members: m}
	var ok bool
	if c.issuer, ok = m.text("iss"); !ok || c.issuer == "" {
		return nil, refuse(IssuerWrong, "no iss")
	}
	if c.expires, ok = m.date("exp"); !ok || c.expires.IsZero() {
		return nil, refuse(Malformed, "exp is missing, or no date")
	}
	for _, name := range []string{"nbf", "iat"} {
		at, ok := m.date(name)
		if !ok {
			return nil, refuse(Malformed, "%s is no date", name)
		}
		if name == "nbf" {
			c.notBefore = at
		}
	}
	lists := []struct {
		into  *[]string
		name  string
		split bool
	}{{&c.audience, "aud", false}, {&c.scopes, "scp", true}, {&c.scopes, "scope", true}, {&c.roles, "roles", false}}
	for _, l := range lists {
		list, ok := m.list(l.name, l.split)
		if !ok {
			return nil, refuse(Malformed, "%s is no text and no list of texts", l.name)
		}
		*l.into = append(*l.into, list...)
	}
	c.subject, _ = m.text("sub")
	c.tid, _ = m.text("tid")
	if c.kind, ok = m.text("idtyp"); !ok && m.get("idtyp") != nil {
		return nil, refuse(Malformed, "idtyp is no text")
	}
	for _, name := range []string{"azp", "appid", "client_id"} {
		if c.client == "" {
			c.client, _ = m.text(name)
		}
	}
	if c.binding, ok = m.confirmation(); !ok {
		return nil, refuse(Malformed, "cnf is no confirmation")
	}
	return c, nil
}
