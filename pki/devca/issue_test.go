package devca_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/devca"
	"github.com/sangate/sangate/pki/stepca"
)

func TestLifetimes(t *testing.T) {
	ca, c, _ := run(t, t.TempDir(), devca.Options{Default: 10 * time.Second, Min: 5 * time.Second, Max: time.Hour})
	for asked, ok := range map[time.Duration]bool{0: true, time.Hour: true, 2 * time.Hour: false} {
		pair, err := c.Enrol(t.Context(), token(t, ca, "short"), stepca.Request{Lifetime: asked})
		if (err == nil) != ok {
			t.Errorf("%v: %v, want ok %v", asked, err, ok)
		}
		if err == nil && asked == 0 && time.Until(pair.Leaf().NotAfter) > 10*time.Second {
			t.Errorf("default ends %v", pair.Leaf().NotAfter)
		}
	}
}

func TestCRL(t *testing.T) {
	ca, c, _ := run(t, t.TempDir(), devca.Options{})
	pair, err := c.Enrol(t.Context(), token(t, ca, "gate"), stepca.Request{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := c.Enrol(t.Context(), token(t, ca, "other"), stepca.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Revoke(t.Context(), pair, stepca.Reason{Code: 1}); err != nil {
		t.Fatal(err)
	}
	revoke, err := ca.RevokeToken(other.Leaf().SerialNumber.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.RevokeSerial(t.Context(), pair.Leaf().SerialNumber, revoke, stepca.Reason{}); err == nil {
		t.Error("a token for one serial number revoked another")
	}
	if revoke, err = ca.RevokeToken(other.Leaf().SerialNumber.String()); err != nil {
		t.Fatal(err)
	}
	if err := c.RevokeSerial(t.Context(), other.Leaf().SerialNumber, revoke, stepca.Reason{}); err != nil {
		t.Fatal(err)
	}
	_, der := get(t, ca, strings.TrimPrefix(ca.CRLURL(), ca.URL()))
	crl, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := crl.CheckSignatureFrom(pair.Chain()[1]); err != nil {
		t.Error(err)
	}
	if n := len(crl.RevokedCertificateEntries); n != 2 {
		t.Errorf("%d entries", n)
	}
	idp := slices.IndexFunc(crl.Extensions, func(e pkix.Extension) bool {
		return e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 28}) && strings.Contains(string(e.Value), ca.CRLURL())
	})
	if idp < 0 {
		t.Errorf("no IDP with %s in %v", ca.CRLURL(), crl.Extensions)
	}
}

func TestACMEDirectory(t *testing.T) {
	ca, _, _ := run(t, t.TempDir(), devca.Options{})
	_, body := get(t, ca, "/acme/acme/directory")
	var dir struct{ NewNonce, NewAccount, NewOrder string }
	if err := json.Unmarshal(body, &dir); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if want := ca.URL() + "/acme/acme/new-nonce"; dir.NewNonce != want {
		t.Errorf("newNonce %q, want %q", dir.NewNonce, want)
	}
	if resp, _ := get(t, ca, strings.TrimPrefix(dir.NewNonce, ca.URL())); resp.Header.Get("Replay-Nonce") == "" {
		t.Errorf("no nonce: %v", resp.Status)
	}
}
