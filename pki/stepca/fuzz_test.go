package stepca

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/smallstep/certificates/api"
)

// FuzzAnswer gives answers to a request for a certificate. What is taken has our key, the
// names that were asked for and no others, a date that holds, and a chain to our root.
//
// Holds: authority/answer-misread
func FuzzAnswer(f *testing.F) {
	seed := func(b byte) ed25519.PrivateKey {
		return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
	}
	caKey, ours, other := seed(1), seed(2), seed(3)
	now := time.Unix(1_800_000_000, 0)
	issue := func(parent *x509.Certificate, key ed25519.PrivateKey, edit func(*x509.Certificate)) *x509.Certificate {
		template := &x509.Certificate{SerialNumber: big.NewInt(7)}
		template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(time.Hour)
		edit(template)
		if parent == nil {
			parent = template
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), caKey)
		if err != nil {
			f.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			f.Fatal(err)
		}
		return c
	}
	root := issue(nil, caKey, func(c *x509.Certificate) {
		c.Subject, c.IsCA, c.BasicConstraintsValid = pkix.Name{CommonName: "root"}, true, true
		c.KeyUsage = x509.KeyUsageCertSign
	})
	good := issue(root, ours, func(c *x509.Certificate) { c.DNSNames = []string{"gate.internal"} })
	for _, chain := range [][]*x509.Certificate{
		{good}, {good, root}, {root}, {root, good}, {},
		{issue(root, other, func(c *x509.Certificate) { c.DNSNames = []string{"gate.internal"} })},
		{issue(root, ours, func(c *x509.Certificate) { c.DNSNames = []string{"other.internal"} })},
		{issue(root, ours, func(c *x509.Certificate) { c.DNSNames = []string{"gate.internal", "other.internal"} })},
		{issue(root, ours, func(c *x509.Certificate) { c.DNSNames, c.NotAfter = good.DNSNames, now.Add(-1) })},
	} {
		var answer api.SignResponse
		for _, c := range chain {
			answer.CertChainPEM = append(answer.CertChainPEM, api.NewCertificate(c))
		}
		data, err := json.Marshal(&answer)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"crt":"","ca":"","certChain":[null]}`))
	f.Add([]byte(`{"certChain":[""]}`))
	want := wanted{key: ours, names: []string{"dns:gate.internal"}, exact: true, roots: []*x509.Certificate{root}, now: now}
	f.Fuzz(func(t *testing.T, data []byte) {
		var answer api.SignResponse
		if json.Unmarshal(data, &answer) != nil {
			return
		}
		pair, err := want.take(&answer)
		if err != nil {
			if pair != nil {
				t.Error("there is a pair beside the error")
			}
			return
		}
		leaf := pair.Leaf()
		key, ok := leaf.PublicKey.(ed25519.PublicKey)
		if !ok || !key.Equal(ours.Public()) || len(leaf.DNSNames) != 1 || leaf.VerifyHostname("gate.internal") != nil ||
			leaf.IsCA || now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) ||
			!bytes.Equal(leaf.RawIssuer, root.RawSubject) {
			t.Errorf("taken: %+v", leaf)
		}
	})
}

// FuzzRefusal gives the bodies of answers that are no success. What is told of them is one
// line of bounded length.
//
// Holds: authority/answer-text
func FuzzRefusal(f *testing.F) {
	for _, s := range []string{
		`{"status":401,"message":"The request lacked necessary authorization."}`, `{"type":"x","detail":"two\nlines"}`,
		`{"message":"` + strings.Repeat("x", 2*maxMessage) + `"}`, `{"message":"` + strings.Repeat("ä", maxMessage) + `"}`,
		`{"message":"\u001b[31m\u0085\u2028\u009b"}`, `{"message":"` + "\xff\xfe" + `"}`,
		`<html>`, ``, `null`, `[]`, `{"message":7}`,
	} {
		f.Add([]byte(s), s)
	}
	f.Fuzz(func(t *testing.T, body []byte, id string) {
		err := error(&StatusError{Status: 401, Message: message(body), RequestID: oneLine(id)})
		text := err.Error()
		if len(text) > 2*(maxMessage+len("…"))+100 {
			t.Errorf("%d bytes are told", len(text))
		}
		if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%q is no line of text", text)
		}
		if _, ok := errors.AsType[*StatusError](err); !ok {
			t.Error("it is no StatusError")
		}
	})
}
