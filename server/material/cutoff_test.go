package material

import (
	"crypto/tls"
	"errors"
	"testing"

	"github.com/sangate/sangate/pki/pkitest"
)

func TestCutOff(t *testing.T) {
	root := pkitest.NewCA(t, "root")
	one := root.Intermediate(t, "one", nil)
	two := one.Intermediate(t, "two", nil)
	other := root.Intermediate(t, "other", nil)
	chain := func(ca *pkitest.CA, length int) *tls.Certificate {
		c := ca.Issue(t, pkitest.Leaf{}).TLS
		if length > len(c.Certificate) {
			t.Fatalf("a chain of %d", len(c.Certificate))
		}
		c.Certificate = c.Certificate[:length]
		return &c
	}
	for name, tt := range map[string]struct {
		inForce, next *tls.Certificate
		cut           bool
	}{
		"as before":                {chain(two, 3), chain(two, 3), false},
		"after the second":         {chain(two, 3), chain(two, 2), true},
		"after the leaf":           {chain(two, 3), chain(two, 1), true},
		"two, after the leaf":      {chain(one, 2), chain(one, 1), true},
		"another issuer":           {chain(two, 3), chain(other, 2), false},
		"another issuer, cut":      {chain(two, 3), chain(other, 1), true},
		"from the root, alone":     {chain(two, 3), chain(root, 1), true},
		"nothing to miss":          {chain(root, 1), chain(root, 1), false},
		"from lone to a chain":     {chain(one, 1), chain(one, 2), false},
		"shorter, to another root": {chain(two, 3), chain(one, 2), false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := cutOff(tt.inForce, tt.next); errors.Is(err, ErrCutOff) != tt.cut || (err != nil) != tt.cut {
				t.Errorf("%v, want cut off %t", err, tt.cut)
			}
		})
	}
}
