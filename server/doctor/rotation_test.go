package doctor_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
)

// In the files of clients there is more than the gate needs while a CA is replaced:
// its intermediates by the old root and by the new one, some of them over. Whom the
// gate lets in has nothing wrong; whom it refuses is told why, and not of those.
func TestRotation(t *testing.T) {
	w := newWorld(t)
	old := pkitest.NewCA(t, "Old CA")
	oldRoot := w.inter.CrossSigned(t, old, nil).Cert.Raw
	for _, tt := range []struct {
		name string
		more [][]byte // before, and behind, the intermediate that counts
		tail [][]byte
	}{
		{"the intermediate alone", nil, nil},
		{"the same by another root, over", nil, [][]byte{w.inter.CrossSigned(t, old, over).Cert.Raw}},
		{"the same, over, first", [][]byte{w.inter.Sibling(t, over).Cert.Raw}, nil},
		{"by the old root first", [][]byte{oldRoot}, nil},
		{"by the old root first, with that", [][]byte{oldRoot, old.Cert.Raw}, nil},
		{"by the old root last", nil, [][]byte{oldRoot}},
		{"a root that is over", nil, [][]byte{old.Sibling(t, over).Cert.Raw}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{t, w.Gate, w.issuer, w.inter, t.TempDir()}
			o := w.client()
			c := w.inter.Issue(t, agent)
			chain := append([][]byte{c.Leaf.Raw}, tt.more...)
			c.TLS.Certificate = append(append(chain, w.inter.Cert.Raw), tt.tail...)
			w.show(o, c)
			if r := w.examine(o); !r.Good {
				t.Errorf("let in, and yet %s\n%s", r.Finding, told(r))
			}
			sum := sha256.Sum256(c.Leaf.Raw)
			w.Change("certificate", func() { w.Write("denylist", []byte("sha256:"+hex.EncodeToString(sum[:])+"\n")) })
			if r := w.examine(o); r.Finding != "revoked" {
				t.Errorf("revoked, and found %q\n%s", r.Finding, told(r))
			}
		})
	}
}

// An intermediate that is over by this machine's clock alone, which is ahead by less
// than counts, is told of, and nothing more.
func TestTakenAllTheSame(t *testing.T) {
	w := newWorld(t)
	o := w.client()
	o.Now = func() time.Time { return time.Now().Add(50 * time.Second) }
	w.show(o, w.inter.Sibling(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(40 * time.Second) }).Issue(t, agent))
	r := w.examine(o)
	if text := told(r); !r.Good || !strings.Contains(text, "Test Intermediate ended at") || !strings.Contains(text, "and yet the gate takes it") {
		t.Errorf("found %q\n%s", r.Finding, text)
	}
}
