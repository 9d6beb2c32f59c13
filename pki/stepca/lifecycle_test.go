package stepca_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/stepca"
)

var sans = []string{"gate.internal", "ops@example.org", "spiffe://example.org/gate/1", "10.0.0.1"}

func sansOf(c *x509.Certificate) []string {
	all := append(slices.Clone(c.DNSNames), c.EmailAddresses...)
	for _, u := range c.URIs {
		all = append(all, u.String())
	}
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}

func TestLifecycle(t *testing.T) {
	for name, start := range authorities {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := start(t, lifetimes{})
			c := a.client(t)
			token := a.token("gate", sans...)
			first, err := c.Enrol(t.Context(), token, stepca.Request{Subject: "gate", SANs: sans})
			if err != nil {
				t.Fatal(err)
			}
			if got := sansOf(first.Leaf()); !slices.Equal(got, sans) {
				t.Fatalf("enrolled SANs %q, want %q", got, sans)
			}
			if len(first.Chain()) != 2 || first.Chain()[1].IsCA != true {
				t.Fatalf("chain of %d, want leaf and intermediate", len(first.Chain()))
			}

			if _, err := c.Enrol(t.Context(), token, stepca.Request{}); status(err) != 401 {
				t.Errorf("second use of a token: %v, want status 401", err)
			} else if strings.Contains(err.Error(), token) {
				t.Errorf("the token is in the error: %v", err)
			}

			renewed, err := c.Renew(t.Context(), first)
			if err != nil {
				t.Fatal(err)
			}
			check(t, "renewed", first, renewed, true)
			rekeyed, err := c.Rekey(t.Context(), renewed)
			if err != nil {
				t.Fatal(err)
			}
			check(t, "rekeyed", renewed, rekeyed, false)

			if err := c.Revoke(t.Context(), rekeyed, stepca.Reason{Code: 4, Text: "test"}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Renew(t.Context(), rekeyed); status(err) != 401 {
				t.Errorf("renewing a revoked certificate: %v, want status 401", err)
			}
			if _, err := c.Rekey(t.Context(), rekeyed); status(err) != 401 {
				t.Errorf("rekeying a revoked certificate: %v, want status 401", err)
			}
			roots, err := c.Roots(t.Context())
			if err != nil || len(roots) != 1 {
				t.Errorf("Roots: %d, %v", len(roots), err)
			}
		})
	}
}

func check(t *testing.T, what string, old, now *stepca.Pair, sameKey bool) {
	t.Helper()
	if old.Leaf().SerialNumber.Cmp(now.Leaf().SerialNumber) == 0 {
		t.Errorf("%s: same serial number", what)
	}
	if got := sansOf(now.Leaf()); !slices.Equal(got, sans) {
		t.Errorf("%s SANs %q, want %q", what, got, sans)
	}
	if same := old.Key().Public().(*ecdsa.PublicKey).Equal(now.Key().Public()); same != sameKey {
		t.Errorf("%s: same key %v, want %v", what, same, sameKey)
	}
}

// status returns the HTTP status of a refusal, 0 for anything else.
func status(err error) int {
	if se, ok := errors.AsType[*stepca.StatusError](err); ok {
		return se.Status
	}
	return 0
}

func TestEnrolNames(t *testing.T) {
	a := authorities["devca"](t, lifetimes{})
	c := a.client(t)
	tests := []struct {
		name string
		req  stepca.Request
		ok   bool
	}{
		{"from the token", stepca.Request{}, true},
		{"as in the token", stepca.Request{Subject: "gate", SANs: sans}, true},
		{"other than in the token", stepca.Request{Subject: "gate", SANs: []string{"admin.internal"}}, false},
		{"empty", stepca.Request{Subject: "gate", SANs: []string{""}}, false},
		{"too many", stepca.Request{Subject: "gate", SANs: make([]string, 65)}, false},
		{"lifetime", stepca.Request{Lifetime: 10 * time.Minute}, true},
		{"lifetime beyond the provisioner's", stepca.Request{Lifetime: 30 * 24 * time.Hour}, false},
		{"negative lifetime", stepca.Request{Lifetime: -1}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pair, err := c.Enrol(t.Context(), a.token("gate", sans...), tt.req)
			if (err == nil) != tt.ok {
				t.Fatalf("err %v, want ok %v", err, tt.ok)
			}
			if err != nil {
				return
			}
			if got := sansOf(pair.Leaf()); !slices.Equal(got, sans) || pair.Leaf().Subject.CommonName != "gate" {
				t.Errorf("names %q of %q", got, pair.Leaf().Subject)
			}
			if tt.req.Lifetime > 0 && time.Until(pair.Leaf().NotAfter) > tt.req.Lifetime {
				t.Errorf("ends %v", pair.Leaf().NotAfter)
			}
		})
	}
	for _, token := range []string{"", "x", "a.b.c"} {
		if _, err := c.Enrol(t.Context(), token, stepca.Request{}); err == nil {
			t.Errorf("token %q enrolled", token)
		}
	}
}

func TestKeyKinds(t *testing.T) {
	a := authorities["devca"](t, lifetimes{afterExpiry: true})
	kinds := map[string]func(crypto.PublicKey) bool{
		"ec-p256":  func(k crypto.PublicKey) bool { p, ok := k.(*ecdsa.PublicKey); return ok && p.Params().BitSize == 256 },
		"ec-p384":  func(k crypto.PublicKey) bool { p, ok := k.(*ecdsa.PublicKey); return ok && p.Params().BitSize == 384 },
		"ed25519":  func(k crypto.PublicKey) bool { _, ok := k.(ed25519.PublicKey); return ok },
		"rsa-3072": func(k crypto.PublicKey) bool { p, ok := k.(*rsa.PublicKey); return ok && p.N.BitLen() == 3072 },
	}
	for name, is := range kinds {
		t.Run(name, func(t *testing.T) {
			kind, err := stepca.ParseKeyKind(name)
			if err != nil || kind.String() != name {
				t.Fatal(kind, err)
			}
			pair, err := a.client(t).Enrol(t.Context(), a.token("k"), stepca.Request{Key: kind})
			if err != nil {
				t.Fatal(err)
			}
			next, err := a.client(t).Rekey(t.Context(), pair)
			if err != nil {
				t.Fatal(err)
			}
			if !is(pair.Key().Public()) || !is(next.Key().Public()) {
				t.Errorf("keys of %T and %T", pair.Key().Public(), next.Key().Public())
			}
			// The token that stands in for an expired certificate is signed by
			// every kind of key. The authority takes it before expiry, too.
			late, err := stepca.New(a.url, stepca.Options{Fingerprint: a.fingerprint, Now: pastEnd(pair)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := late.Renew(t.Context(), pair); !errors.Is(err, stepca.ErrVet) && status(err) != 401 {
				t.Errorf("renewal with a clock a day ahead: %v, want a token or a certificate refused", err)
			}
		})
	}
	if _, err := stepca.ParseKeyKind("rsa-1024"); err == nil {
		t.Error("rsa-1024 is a kind of key")
	}
}

func pastEnd(p *stepca.Pair) func() time.Time {
	return func() time.Time { return p.Leaf().NotAfter.Add(time.Second) }
}

func TestRenewAfterExpiry(t *testing.T) {
	for name, start := range authorities {
		for _, allowed := range []bool{true, false} {
			t.Run(name+map[bool]string{true: " allowed", false: " not allowed"}[allowed], func(t *testing.T) {
				t.Parallel()
				a := start(t, lifetimes{validity: 2 * time.Second, afterExpiry: allowed})
				c := a.client(t)
				pair, err := c.Enrol(t.Context(), a.token("gate", sans...), stepca.Request{})
				if err != nil {
					t.Fatal(err)
				}
				within(t, "expiry", func() bool { return time.Now().After(pair.Leaf().NotAfter.Add(time.Second)) })
				if _, err := c.Rekey(t.Context(), pair); !errors.Is(err, stepca.ErrExpired) {
					t.Errorf("Rekey: %v, want ErrExpired", err)
				}
				next, err := c.Renew(t.Context(), pair)
				if !allowed {
					if status(err) != 401 || !strings.Contains(err.Error(), "expired") && name == "devca" {
						t.Fatalf("Renew: %v, want status 401 for expiry", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				check(t, "renewed after expiry", pair, next, true)
			})
		}
	}
}

func TestFingerprint(t *testing.T) {
	a := authorities["devca"](t, lifetimes{})
	sum, _ := hex.DecodeString(a.fingerprint)
	sum[31] ^= 1
	c, err := stepca.New(a.url, stepca.Options{Fingerprint: hex.EncodeToString(sum)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Enrol(t.Context(), a.token("gate"), stepca.Request{}); !errors.Is(err, stepca.ErrFingerprint) {
		t.Errorf("%v, want ErrFingerprint", err)
	}
	var colons []string
	for b := range slices.Chunk([]byte(strings.ToUpper(a.fingerprint)), 2) {
		colons = append(colons, string(b))
	}
	c, err = stepca.New(a.url, stepca.Options{Fingerprint: strings.Join(colons, ":")})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Health(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	good := strings.Repeat("ab", 32)
	tests := []struct {
		name, url string
		opts      stepca.Options
	}{
		{"http", "http://ca:9000", stepca.Options{Fingerprint: good}},
		{"no scheme", "ca:9000", stepca.Options{Fingerprint: good}},
		{"a path", "https://ca/acme", stepca.Options{Fingerprint: good}},
		{"a user", "https://u:p@ca", stepca.Options{Fingerprint: good}},
		{"no root", "https://ca", stepca.Options{}},
		{"two roots", "https://ca", stepca.Options{Fingerprint: good, RootFile: "x"}},
		{"short fingerprint", "https://ca", stepca.Options{Fingerprint: good[:40]}},
		{"no hex", "https://ca", stepca.Options{Fingerprint: strings.Repeat("zz", 32)}},
		{"no file", "https://ca", stepca.Options{RootFile: "/nonexistent"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := stepca.New(tt.url, tt.opts); err == nil {
				t.Error("taken")
			}
		})
	}
}
