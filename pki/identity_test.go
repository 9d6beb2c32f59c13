package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/sangate/sangate/pki/pkitest"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A general is one GeneralName: the byte of its tag, and its content.
type general struct {
	tag   uint8
	value string
}

func uri(v string) general   { return general{0x86, v} }
func dns(v string) general   { return general{0x82, v} }
func email(v string) general { return general{0x81, v} }
func ip(v ...byte) general   { return general{0x87, string(v)} }

// leafWith is a certificate as far as ParseIdentity looks at it. Some of the
// names here would not get through x509.ParseCertificate today; they are
// refused here too, and do not depend on it.
func leafWith(names ...general) *x509.Certificate {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, n := range names {
			b.AddASN1(cbasn1.Tag(n.tag), func(b *cryptobyte.Builder) { b.AddBytes([]byte(n.value)) })
		}
	})
	return leafWithRaw(b.BytesOrPanic())
}

func leafWithRaw(san []byte) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(0x0abc),
		Subject:      pkix.Name{CommonName: "acme"},
		Extensions:   []pkix.Extension{{Id: oidSAN, Value: san}},
	}
}

func TestParseIdentityAccepts(t *testing.T) {
	long := strings.Repeat("a", 63)
	tests := []struct {
		name string
		in   general
		want string
	}{
		{"spiffe", uri("spiffe://example.org/tenant/acme/agent-1"), "uri:spiffe://example.org/tenant/acme/agent-1"},
		{"spiffe path keeps its case", uri("spiffe://example.org/Tenant/A_b.c"), "uri:spiffe://example.org/Tenant/A_b.c"},
		{"https with port", uri("https://agents.example.org:8443/acme"), "uri:https://agents.example.org:8443/acme"},
		{"https without path", uri("https://agents.example.org"), "uri:https://agents.example.org"},
		{"urn", uri("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"), "uri:urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"},
		{"URI without case folding", uri("https://Agents.Example.org"), "uri:https://Agents.Example.org"},
		{"dns", dns("bot.acme.example"), "dns:bot.acme.example"},
		{"dns is folded", dns("Bot.ACME.example"), "dns:bot.acme.example"},
		{"dns underscore", dns("_bot.acme"), "dns:_bot.acme"},
		{"dns label of 63", dns(long + ".x"), "dns:" + long + ".x"},
		{"email folds the domain alone", email("Bot.One@ACME.example"), "email:Bot.One@acme.example"},
		{"email with plus", email("bot+1@acme.example"), "email:bot+1@acme.example"},
		{"ip 4", ip(10, 0, 0, 1), "ip:10.0.0.1"},
		{"ip 6", ip(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), "ip:2001:db8::1"},
		{"ip 4 in 6", ip(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1), "ip:10.0.0.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, err := ParseIdentity(leafWith(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if len(id.SANs) != 1 || id.SANs[0].String() != tt.want {
				t.Errorf("got %v, want %s", id.SANs, tt.want)
			}
			if id.Serial != "0abc" {
				t.Errorf("serial %s", id.Serial)
			}
		})
	}
}

func TestParseIdentityRefuses(t *testing.T) {
	many := make([]general, MaxSANs+1)
	manyOther := make([]general, MaxSANs+1)
	for i := range many {
		many[i] = dns(fmt.Sprintf("a%d.example", i))
		manyOther[i] = general{0xa0, "\x06\x01\x2a"}
	}
	upn := general{0xa0, "\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x14\x02\x03\xa0\x06\x0c\x04acme"}
	tests := []struct {
		name string
		in   []general
		want Reason
	}{
		{"common name only", nil, SANMissing},
		{"otherName only", []general{upn}, SANMissing},
		{"constructed tag is not a URI", []general{{0xa6, "spiffe://example.org/a"}}, SANMissing},
		{"65 names", many, SANInvalid},
		{"65 otherNames", manyOther, SANInvalid},
		{"two SPIFFE IDs", []general{uri("spiffe://example.org/a"), uri("spiffe://example.org/b")}, SANInvalid},
		{"one SPIFFE ID twice", []general{uri("spiffe://example.org/a"), uri("spiffe://example.org/a")}, SANInvalid},
		{"a good name and a bad one", []general{uri("spiffe://example.org/a"), dns("*.example.org")}, SANInvalid},
		{"dns newline", []general{dns("a\nb.example")}, SANInvalid},
		{"dns ESC", []general{dns("a\x1b[31m.example")}, SANInvalid},
		{"dns NUL", []general{dns("good.example\x00.evil")}, SANInvalid},
		{"dns space", []general{dns(" a.example")}, SANInvalid},
		{"dns wildcard", []general{dns("*.example.org")}, SANInvalid},
		{"dns lone star", []general{dns("*")}, SANInvalid},
		{"dns empty", []general{dns("")}, SANInvalid},
		{"dns trailing dot", []general{dns("a.example.")}, SANInvalid},
		{"dns dot dot", []general{dns("a..example")}, SANInvalid},
		{"dns hyphen first", []general{dns("-a.example")}, SANInvalid},
		{"dns label of 64", []general{dns(strings.Repeat("a", 64) + ".x")}, SANInvalid},
		{"dns of 254", []general{dns(strings.Repeat("a.", 126) + "aa")}, SANInvalid},
		{"dns not ASCII", []general{dns("ácme.example")}, SANInvalid},
		{"dns capture", []general{dns("{tenant}.example")}, SANInvalid},
		{"email without at", []general{email("acme.example")}, SANInvalid},
		{"email two ats", []general{email("a@b@acme.example")}, SANInvalid},
		{"email quoted", []general{email(`"a b"@acme.example`)}, SANInvalid},
		{"email NUL", []general{email("a@acme.example\x00")}, SANInvalid},
		{"email newline", []general{email("a\n@acme.example")}, SANInvalid},
		{"email star", []general{email("*@acme.example")}, SANInvalid},
		{"email percent", []general{email("a%b@acme.example")}, SANInvalid},
		{"email wildcard domain", []general{email("a@*.example")}, SANInvalid},
		{"email local of 65", []general{email(strings.Repeat("a", 65) + "@acme.example")}, SANInvalid},
		{"ip of 3 bytes", []general{ip(10, 0, 1)}, SANInvalid},
		{"ip with mask", []general{ip(10, 0, 0, 1, 255, 0, 0, 0)}, SANInvalid},
		{"uri too long", []general{uri("spiffe://example.org/" + strings.Repeat("a", 2048))}, SANInvalid},
	}
	for _, bad := range []string{
		"", "x", "spiffe:", "://example.org/a", "not a uri", "../x:y", "a/b:c", "-a:b",
		"spiffe://example.org/a\nb", "spiffe://example.org/a\x1b", "spiffe://example.org/a\x00", "spiffe://example.org/a b",
		"spiffe://example.org/%61", "spiffe://example.org//a", "spiffe://example.org/a/", "spiffe://example.org/a/../b",
		"spiffe://example.org/a/./b", "spiffe://example.org/a?b", "spiffe://example.org/a#b", "spiffe://u@example.org/a",
		"spiffe://u:p@example.org/a", "spiffe://example.org:80/a", "spiffe://Example.org/a", "SPIFFE://example.org/a",
		"Spiffe:example.org/a", "spiffe:/example.org/a", "spiffe://example.org", "spiffe://example.org/", "spiffe:///a",
		"spiffe://../a", "spiffe://example.org/*", "spiffe://example.org/{tenant}", "spiffe://example.org/a~b", "spiffe://example.org/é",
		"https://example.org/%61", "https://example.org//a", "https://example.org/a/../b", "https://example.org/a?b",
		"https://example.org/a#b", "https://u@example.org/a", "https://example.org/a\\b", "https://example.org/*", "urn:a/../b",
		"https://example.org/\xff",
	} {
		tests = append(tests, struct {
			name string
			in   []general
			want Reason
		}{fmt.Sprintf("uri %q", bad), []general{uri(bad)}, SANInvalid})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, err := ParseIdentity(leafWith(tt.in...))
			requireReason(t, err, tt.want)
			if id == nil || len(id.SANs) != 0 || id.Name() != "" {
				t.Errorf("a refused identity has names: %+v", id)
			}
			if i := strings.IndexFunc(err.Error(), func(c rune) bool { return c < ' ' || c == 0x7f }); i >= 0 {
				t.Errorf("control byte in the error: %q", err.Error())
			}
		})
	}
	for name, raw := range map[string]string{
		"not a sequence": "\x04\x00", "trailing bytes": "\x30\x00\x00", "cut off": "\x30\x04\x82\x09aa", "empty": "",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseIdentity(leafWithRaw([]byte(raw)))
			requireReason(t, err, SANInvalid)
		})
	}
}

func TestParseIdentityOfCertificate(t *testing.T) {
	ca := pkitest.NewCA(t, "ca")
	leaf := pkitest.Leaf{CommonName: "globex", DNS: []string{"b.example"}, UPNs: []string{"x@y"}, URIs: []string{"spiffe://example.org/a"}}
	one, two := ca.Issue(t, leaf), ca.Issue(t, leaf)
	id1, err1 := ParseIdentity(one.Leaf)
	id2, err2 := ParseIdentity(two.Leaf)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if id1.Name() != "spiffe://example.org/a" || id1.Key(1) != "uri:spiffe://example.org/a" || id1.Key(0) != "dns:b.example" || !id1.Before(1, 0) || id1.Before(0, 1) {
		t.Errorf("name %q, key %q", id1.Name(), id1.Key(1))
	}
	if id1.Key(1) != id2.Key(1) || id1.Fingerprint == id2.Fingerprint || id1.Serial == id2.Serial {
		t.Error("a renewed certificate keeps its names, and nothing else")
	}
	onlyCN := ca.Issue(t, pkitest.Leaf{CommonName: "acme"})
	_, err := ParseIdentity(onlyCN.Leaf)
	requireReason(t, err, SANMissing)
}

// FuzzParseIdentity checks that a name is accepted only if it is made of bytes that mean
// nothing elsewhere, and is compared in one form.
//
// Holds: client/one-identity-per-name
func FuzzParseIdentity(f *testing.F) {
	for _, n := range []general{uri("spiffe://example.org/a"), dns("A.example"), email("A@B.c"), ip(1, 2, 3, 4), uri("urn:a:b"), {0xa0, "x"}} {
		f.Add(leafWith(n, n).Extensions[0].Value)
	}
	f.Fuzz(func(t *testing.T, san []byte) {
		id, err := ParseIdentity(leafWithRaw(san))
		if (err == nil) != (len(id.SANs) > 0) {
			t.Fatalf("%d names with error %v", len(id.SANs), err)
		}
		if len(id.SANs) > MaxSANs {
			t.Fatalf("%d names", len(id.SANs))
		}
		for _, s := range id.SANs {
			again := s.Value
			var err error
			switch s.Type {
			case URI:
				err = strictURI(s.Value)
			case DNS:
				again, err = strictDNS(s.Value)
			case Email:
				again, err = strictEmail(s.Value)
			case IP:
				again = s.Addr.String()
			}
			if err != nil || again != s.Value {
				t.Fatalf("%v: then %q, %v", s, again, err)
			}
			if strings.ContainsFunc(s.Value, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`%*{}"\`, c) }) {
				t.Fatalf("%q holds a byte that means something elsewhere", s.Value)
			}
		}
	})
}

func requireReason(t *testing.T, err error, want Reason) {
	t.Helper()
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok || refused.Reason != want {
		t.Fatalf("got %v, want %s", err, want)
	}
}
