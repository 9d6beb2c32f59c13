package doctor_test

import (
	"crypto/tls"
	"encoding/json"
	"strings"
	"testing"

	"github.com/sangate/sangate/pki/pkitest"
)

// What is told in words is there for programs as well.
func TestSeen(t *testing.T) {
	w := newWorld(t)
	o := w.client()
	r := w.examine(o)
	if !r.Good || !strings.Contains(told(r), "asks for certificates of CN=Test CA") {
		t.Error(told(r))
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Seen struct {
			Addresses []string
			Remote    string
			TLS       struct {
				Version, CipherSuite, Group string
				AsksFor                     []string
			}
			ClockSkewSeconds         *float64
			ServerChain, ClientChain []struct {
				Subject, Issuer, NotBefore, NotAfter string
				Names                                []string
			}
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	s := got.Seen
	if len(s.Addresses) != 1 || s.Remote != w.Addr || s.TLS.Version != "TLS 1.3" || s.TLS.CipherSuite == "" || s.TLS.Group != "X25519MLKEM768" ||
		len(s.TLS.AsksFor) != 1 || s.TLS.AsksFor[0] != "CN=Test CA" || s.ClockSkewSeconds == nil {
		t.Errorf("%s", text)
	}
	if len(s.ServerChain) != 1 || strings.Join(s.ServerChain[0].Names, " ") != "dns:localhost dns:gate.example.org ip:127.0.0.1" ||
		len(s.ClientChain) != 1 || strings.Join(s.ClientChain[0].Names, " ") != "uri:"+agent.URIs[0] ||
		s.ClientChain[0].Issuer != "CN=Test CA" || s.ClientChain[0].NotAfter == "" || s.ClientChain[0].NotBefore == "" {
		t.Errorf("%s", text)
	}
}

// TLS 1.2 has a group, or none; it is never told as a number.
func TestGroup(t *testing.T) {
	w := newWorld(t)
	good := w.CA.Issue(t, pkitest.Leaf{IPs: here})
	o := w.client()
	o.URL = record(t, func(int) *pkitest.Cert { return good }).URL
	o.MaxVersion = tls.VersionTLS12
	if r := w.examine(o); !r.Good || !strings.Contains(told(r), "TLS 1.2, ") || strings.Contains(told(r), "CurveID") || r.Seen.TLS.Group == "" {
		t.Errorf("found %q\n%s", r.Finding, told(r))
	}
}
