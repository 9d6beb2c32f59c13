package apikey

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/sanrule"
)

// A Pin narrows a key to some of its tenant's certificates. Where both are given
// both must fit; the zero Pin fits all.
type Pin struct {
	SAN         string // a SAN rule that one of the certificate's names fits
	Certificate string // hexadecimal SHA-256 of the certificate
}

// Check reports what is wrong with a pin.
func (p Pin) Check() error {
	_, err := p.compile()
	return err
}

// A lock is a Pin that can be looked at quickly.
type lock struct {
	rules       *sanrule.Set[bool]
	certificate *[sha256.Size]byte
}

func (p Pin) compile() (lock, error) {
	var l lock
	if p.SAN != "" {
		rule, err := sanrule.Parse(p.SAN)
		if err != nil {
			return l, err
		}
		if len(rule.Captures()) > 0 {
			return l, fmt.Errorf("SAN rule %q captures; a pin has nobody to capture for: write *", p.SAN)
		}
		l.rules = &sanrule.Set[bool]{}
		if err := l.rules.Add(rule, true); err != nil {
			return l, err
		}
	}
	if p.Certificate != "" {
		sum, err := hex.DecodeString(strings.ReplaceAll(p.Certificate, ":", ""))
		if err != nil || len(sum) != sha256.Size {
			return l, fmt.Errorf("certificate %q: write the 64 hexadecimal digits of its SHA-256; `sangate cert inspect` tells them", p.Certificate)
		}
		l.certificate = (*[sha256.Size]byte)(sum)
	}
	return l, nil
}

// Fits reports whether a key may be used with the certificate. Does not allocate.
func (k *Key) Fits(id *pki.Identity) bool {
	if k.lock.certificate != nil && *k.lock.certificate != id.Fingerprint {
		return false
	}
	if k.lock.rules == nil {
		return true
	}
	for i := range id.SANs {
		if _, ok := k.lock.rules.Lookup(id.SANs[i]); ok {
			return true
		}
	}
	return false
}
