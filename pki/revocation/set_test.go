package revocation_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/revocation"
)

func TestSet(t *testing.T) {
	root := newIssuer(t, "root", nil, nil)
	middle := newIssuer(t, "middle", root, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(77) })
	twin := newIssuer(t, "middle", root, nil)
	renewed := &issuer{key: middle.key, parent: root}
	renewed.cert = certify(t, &x509.Certificate{SerialNumber: big.NewInt(78), Subject: middle.cert.Subject, NotBefore: time.Unix(0, 0),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}, middle.key, root)
	chain := middle.chain(middle.leaf(t, big.NewInt(42)))
	now := time.Now()
	scoped := func(tag byte) list {
		return list{number: 1, extra: []pkix.Extension{{Id: idpOID, Critical: true, Value: []byte{0x30, 3, tag, 1, 0xff}}}}
	}
	crl := func(ca *issuer, l list) *revocation.CRL { t.Helper(); return parse(t, ca.crl(t, l), now, ca) }
	stale := func(ca *issuer, serials ...int64) *revocation.CRL {
		return parse(t, ca.crl(t, list{this: now.Add(-2 * time.Hour), next: now.Add(-time.Hour), serials: numbers(serials...)}), now.Add(-90*time.Minute), ca)
	}
	clean, rootClean := crl(middle, list{serials: numbers(1, 2)}), crl(root, list{})
	hard, soft := revocation.SetOptions{}, revocation.SetOptions{Mode: revocation.Soft}
	grace := revocation.SetOptions{Grace: 90 * time.Minute}
	missing := revocation.SetOptions{Missing: []string{"http://ca/root.crl"}}
	tests := []struct {
		name  string
		lists []*revocation.CRL
		opts  revocation.SetOptions
		chain []*x509.Certificate // chain where nil
		want  revocation.Status
		words string
	}{
		{"clean", []*revocation.CRL{clean}, hard, nil, revocation.Good, ""},
		{"clean, root's too", []*revocation.CRL{rootClean, clean}, hard, nil, revocation.Good, ""},
		{"leaf revoked", []*revocation.CRL{crl(middle, list{serials: numbers(42)})}, hard, nil, revocation.Revoked, `list of "CN=middle"`},
		{"leaf revoked, soft", []*revocation.CRL{crl(middle, list{serials: numbers(42)})}, soft, nil, revocation.Revoked, "keyCompromise"},
		{"leaf's number on the root's list", []*revocation.CRL{clean, crl(root, list{serials: numbers(42)})}, hard, nil, revocation.Good, ""},
		{"intermediate revoked", []*revocation.CRL{clean, crl(root, list{serials: numbers(77)})}, hard, nil, revocation.Revoked, "certificate 1"},
		{"intermediate revoked, leaf unknown", []*revocation.CRL{crl(root, list{serials: numbers(77)})}, hard, nil, revocation.Revoked, "certificate 1"},
		{"no list", nil, hard, nil, revocation.Unknown, `no list of its issuer: "CN=middle"`},
		{"no list, soft", nil, soft, nil, revocation.Good, ""},
		{"root's list only", []*revocation.CRL{rootClean}, hard, nil, revocation.Unknown, `"CN=middle"`},
		{"list of the same name, other key", []*revocation.CRL{crl(twin, list{serials: numbers(42)})}, hard, nil, revocation.Unknown, "no list"},
		{"list verified under the CA's renewed certificate", []*revocation.CRL{crl(renewed, list{serials: numbers(42)})}, hard, nil, revocation.Revoked, ""},
		{"stale", []*revocation.CRL{stale(middle)}, hard, nil, revocation.Unknown, "past its next update"},
		{"stale, grace", []*revocation.CRL{stale(middle)}, grace, nil, revocation.Good, ""},
		{"stale, soft", []*revocation.CRL{stale(middle)}, soft, nil, revocation.Good, ""},
		{"stale, soft, revoked", []*revocation.CRL{stale(middle, 42)}, soft, nil, revocation.Revoked, ""},
		{"root's stale", []*revocation.CRL{clean, stale(root)}, hard, nil, revocation.Unknown, `"CN=root"`},
		{"a list is missing", []*revocation.CRL{clean}, missing, nil, revocation.Unknown, "certificate 1"},
		{"a list is missing, not the root's", []*revocation.CRL{clean, rootClean}, missing, nil, revocation.Good, ""},
		{"newer of two, number", []*revocation.CRL{crl(middle, list{number: 3}), crl(middle, list{number: 2, serials: numbers(42)})}, hard, nil, revocation.Good, ""},
		{"newer of two, other order", []*revocation.CRL{crl(middle, list{number: 2}), crl(middle, list{number: 3, serials: numbers(42)})}, hard, nil, revocation.Revoked, ""},
		{"for users only", []*revocation.CRL{crl(middle, scoped(0x81))}, hard, nil, revocation.Good, ""},
		{"for CAs only", []*revocation.CRL{crl(middle, scoped(0x82))}, hard, nil, revocation.Unknown, "no list"},
		{"root's for users only is not about the intermediate", []*revocation.CRL{clean, crl(root, scoped(0x81))}, missing, nil, revocation.Unknown, "certificate 1"},
		{"leaf under the root", []*revocation.CRL{rootClean}, hard, root.chain(root.leaf(t, big.NewInt(5))), revocation.Good, ""},
		{"leaf is the anchor", nil, hard, chain[:1], revocation.Good, ""},
		{"serial too long", []*revocation.CRL{clean}, soft, middle.chain(middle.leaf(t, new(big.Int).Lsh(big.NewInt(42), 160))), revocation.Unknown, "longer"},
		{"no certificate", nil, soft, []*x509.Certificate{}, revocation.Unknown, "no certificate"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if tc.chain == nil {
				tc.chain = chain
			}
			r := revocation.NewSet(tc.lists, nil, tc.opts).CheckChain(tc.chain, nil, now)
			if r.Status != tc.want || !strings.Contains(r.Detail(), tc.words) || (r.Status == revocation.Good) != (r.Detail() == "") {
				t.Errorf("%v: %s", r.Status, r.Detail())
			}
		})
	}
}

// Time passes under a set that stays.
func TestSetGoesStale(t *testing.T) {
	ca := newIssuer(t, "ours", nil, nil)
	now := time.Now()
	set := revocation.NewSet([]*revocation.CRL{parse(t, ca.crl(t, list{this: now, next: now.Add(time.Hour)}), now, ca)}, nil, revocation.SetOptions{})
	keys := revocation.KeysOf(ca.chain(ca.leaf(t, big.NewInt(4))), nil)
	if r := set.Check(keys, now); r.Status != revocation.Good {
		t.Errorf("now: %s", r.Detail())
	}
	if r := set.Check(keys, now.Add(time.Hour+time.Second)); r.Status != revocation.Unknown {
		t.Errorf("in an hour: %v", r.Status)
	}
}
