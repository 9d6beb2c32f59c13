package material

import (
	"crypto/x509"
	"slices"
	"testing"
)

// ca is a certificate that nobody signed, of that name and key.
func ca(name string) *x509.Certificate {
	return &x509.Certificate{Raw: []byte(name), RawSubject: []byte(name), RawSubjectPublicKeyInfo: []byte(name)}
}

// Whoever holds most of the issuers that clients bring loses the oldest; others keep theirs.
func TestSeenIssuersShared(t *testing.T) {
	k := new(Keeper)
	k.cas.Store(new([]*x509.Certificate))
	note := func(anchor, branch, issuer string) {
		k.noteIssuersOf([]*x509.Certificate{ca("leaf"), ca(issuer), ca(branch), ca(anchor)})
	}
	known := func(name string) bool { return slices.ContainsFunc(k.issuers(), ca(name).Equal) }
	note("root", "globex", "globex issuing")
	for i := range 100 {
		note("root", "acme", "acme "+string(rune('A'+i)))
	}
	if got := len(*k.seen.Load()); got > maxBranch+2 || !known("globex") || !known("globex issuing") || known("acme A") || !known("acme "+string(rune('A'+99))) {
		t.Errorf("%d issuers: %v", got, *k.seen.Load())
	}
	for i := range 1000 { // an anchor whose holder makes branches as he likes
		note("partner", "branch "+string(rune(0x4000+i)), "issuing "+string(rune(0x4000+i)))
	}
	if got := len(*k.seen.Load()); got != maxSeen || !known("globex") || !known("globex issuing") {
		t.Errorf("%d issuers", got)
	}
	note("root", "initech", "initech issuing")
	if !known("initech") || !known("initech issuing") {
		t.Error("a newcomer below another anchor found no room")
	}
	before := k.seen.Load()
	if k.noteIssuersOf([]*x509.Certificate{ca("leaf"), ca("initech issuing"), ca("initech"), ca("root")}) || k.seen.Load() != before {
		t.Error("one that is known was taken for new")
	}
	if k.noteIssuersOf([]*x509.Certificate{ca("leaf"), ca("root")}) || k.noteIssuersOf(nil) {
		t.Error("an anchor was taken for new")
	}
}
