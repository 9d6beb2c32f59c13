package revocation

import (
	"fmt"
	"strconv"

	"github.com/sangate/sangate/pki"
)

// A Denylist names certificates, keys and names that are refused whatever their
// issuer says. It is immutable. Lines are kept by number only; what stood in
// them is in the file.
type Denylist struct {
	name   string
	labels []string // of the lines; nil: their numbers

	certs, spkis table[[32]byte, uint32] // value: the line
	serials      table[serial, uint32]
	issued       table[issued, uint32]
	rules        []denyRule
}

type denyRule struct {
	match func(pki.SAN) bool
	line  uint32
}

// Len returns the number of different entries.
func (d *Denylist) Len() int {
	return len(d.certs.records) + len(d.spkis.records) + len(d.serials.records) + len(d.issued.records) + len(d.rules)
}

// WithLabels returns the same list with what its lines are called in a [Result],
// one label for each, in the place of their numbers.
func (d *Denylist) WithLabels(labels []string) *Denylist {
	labelled := *d
	labelled.labels = labels
	return &labelled
}

func (d *Denylist) label(line uint32) string {
	if i := int(line) - 1; i < len(d.labels) {
		return d.labels[i]
	}
	return strconv.FormatUint(uint64(line), 10)
}

// find returns the line that denies one of the chain. Serial numbers are those
// of certificates with an issuer: roots often have number 1, and are denied by
// certificate or key.
func (d *Denylist) find(k *Keys) (depth int, line uint32, found bool) {
	for i := range k.certs {
		if line, found := d.findCert(&k.certs[i]); found {
			return i, line, true
		}
	}
	for i := range d.rules {
		for j := range k.names {
			if d.rules[i].match(k.names[j]) {
				return 0, d.rules[i].line, true
			}
		}
	}
	return 0, 0, false
}

func (d *Denylist) findCert(c *certKeys) (line uint32, found bool) {
	if line, found = d.certs.find(c.cert); found {
		return line, true
	}
	if line, found = d.spkis.find(c.spki); found {
		return line, true
	}
	if c.issuer == nil || !c.numbered {
		return 0, false
	}
	if line, found = d.serials.find(c.number); found {
		return line, true
	}
	if len(d.issued.records) == 0 {
		return 0, false
	}
	if line, found = d.issued.find(issued{c.number, c.issuerIDs[0]}); found || c.issuerIDs[1] == c.issuerIDs[0] {
		return line, found
	}
	return d.issued.find(issued{c.number, c.issuerIDs[1]})
}

// A LineError is one bad line of a denylist.
type LineError struct {
	File      string
	Line, Col int // from 1, in bytes
	Err       error
}

func (e *LineError) Error() string { return fmt.Sprintf("%s:%d:%d: %v", e.File, e.Line, e.Col, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }
