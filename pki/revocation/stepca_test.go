package revocation_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/revocation"
	"github.com/sangate/sangate/pki/stepca/steptest"
)

// The real step-ca: its list is taken before and after `step ca revoke`, over
// its own HTTPS, and the revoked certificate is found by it.
func TestStepCA(t *testing.T) {
	ca := steptest.Start(t, steptest.Options{CRL: true})
	chain := enrol(t, ca, "one")
	other := enrol(t, ca, "two")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.RootPEM)
	changed := 0
	src, err := revocation.NewSource(revocation.SourceOptions{
		URLs:      []string{ca.URL + "/1.0/crl"},
		Issuers:   func() []*x509.Certificate { return chain[1:] },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true},
		Notify:    func([]*revocation.CRL) { changed++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	status := func(chain []*x509.Certificate) revocation.Result {
		return revocation.NewSet(src.Lists(), nil, revocation.SetOptions{}).CheckChain(chain, nil, time.Now())
	}
	if r := status(chain); r.Status != revocation.Unknown {
		t.Errorf("no list yet: %v", r.Status)
	}
	load(t, src)
	if r := status(chain); r.Status != revocation.Good {
		t.Errorf("before: %v %s", r.Status, r.Detail())
	}
	if points := src.Lists()[0].Points; len(points) != 1 || points[0] != ca.URL+"/1.0/crl" {
		t.Errorf("points %q", points)
	}
	number := chain[0].SerialNumber.String()
	token := strings.TrimSpace(ca.Step("ca", "token", number, "--revoke", "--provisioner", steptest.Provisioner,
		"--provisioner-password-file", filepath.Join(ca.Dir, "password"), "--ca-url", ca.URL, "--root", ca.RootFile))
	ca.Step("ca", "revoke", number, "--reasonCode", "1", "--token", token, "--ca-url", ca.URL, "--root", ca.RootFile)
	load(t, src)
	if r := status(chain); r.Status != revocation.Revoked {
		t.Errorf("after: %v %s", r.Status, r.Detail())
	} else {
		t.Log(r.Detail())
	}
	if r := status(other); r.Status != revocation.Good {
		t.Errorf("the other: %v %s", r.Status, r.Detail())
	}
	if changed != 2 {
		t.Errorf("told of %d changes", changed)
	}
}

func load(t *testing.T, src *revocation.Source) {
	t.Helper()
	if err := src.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// enrol returns the chain up to the root.
func enrol(t *testing.T, ca *steptest.CA, name string) []*x509.Certificate {
	t.Helper()
	crt := filepath.Join(t.TempDir(), name+".crt")
	ca.Step("ca", "certificate", name, crt, crt+".key", "--token", ca.Token(name, name+".example"),
		"--ca-url", ca.URL, "--root", ca.RootFile)
	data, err := os.ReadFile(crt)
	if err != nil {
		t.Fatal(err)
	}
	var chain []*x509.Certificate
	for data = append(data, ca.RootPEM...); ; {
		block, rest := pem.Decode(data)
		if block == nil {
			return chain
		}
		data = rest
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, cert)
	}
}
