package ocsp

import (
	"crypto"
	"crypto/fips140"
	"crypto/x509/pkix"
	"encoding/asn1"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// In FIPS 140-only mode, where SHA-1 panics, nothing that a responder sends
// comes to it. The mode is chosen at the start of a process, so it takes another.
func TestFIPS140Only(t *testing.T) {
	if !fips140.Enforced() {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestFIPS140Only$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "PASS: TestFIPS140Only") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if _, err := New(Options{Hash: crypto.SHA1}); err == nil {
		t.Error("SHA-1 taken")
	}
	ca := newCA(t, "ours", nil)
	r := &responder{ca: ca}
	if status, detail := await(t, start(t, Options{}).Entry(chain(ca.leaf(t, r.listen(t)), ca))); status != Good {
		t.Errorf("%v, %q", status, detail)
	}
	now := time.Now()
	q := question{serial: ca.leaf(t).cert.SerialNumber, issuer: ca.cert}
	der, err := r.sign(ocsp.Response{SerialNumber: q.serial, ThisUpdate: now, NextUpdate: now.Add(time.Hour),
		IssuerHash: crypto.SHA256}, ca)
	if err != nil {
		t.Fatal(err)
	}
	named := craft(t, der, ca.key, func(d *responseData) {
		d.Responses[0].ID.Hash = pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}}
	})
	for _, der := range [][]byte{named, sha1Signed(t, der)} {
		if a, err := new(Options).read(der, q, now); err == nil {
			t.Errorf("%+v", a)
		}
	}
}

// sha1Signed says of an answer that it is signed with SHA-1.
func sha1Signed(t *testing.T, der []byte) []byte {
	t.Helper()
	var whole wholeAnswer
	var basic basicAnswer
	if _, err := asn1.Unmarshal(der, &whole); err != nil {
		t.Fatal(err)
	}
	if _, err := asn1.Unmarshal(whole.Bytes.Data, &basic); err != nil {
		t.Fatal(err)
	}
	basic.Algorithm.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}
	var err error
	if whole.Bytes.Data, err = asn1.Marshal(basic); err != nil {
		t.Fatal(err)
	}
	if der, err = asn1.Marshal(whole); err != nil {
		t.Fatal(err)
	}
	return der
}
