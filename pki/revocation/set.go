package revocation

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sangate/sangate/pki"
)

// A Mode says what it means that no current list is to be had.
type Mode uint8

// The modes. Hard is the zero value.
const (
	Hard Mode = iota // Unknown: let nobody in whose status cannot be told
	Soft             // Good: refuse only who is known to be revoked
)

// SetOptions shape a [Set].
type SetOptions struct {
	Mode Mode
	// Grace is how long past its next update a list still counts as current.
	Grace time.Duration
	// Missing names configured lists that are not held. While there are any, a
	// set in [Hard] mode does not pass an intermediate without a list: the
	// missing one might be its issuer's.
	Missing []string
}

// A Set is all that is known of revocation at one time. It is immutable.
//
// In Hard mode every leaf needs a current list of its issuer, and so does every
// intermediate whose issuer has a list here. A set of a denylist alone is Soft.
type Set struct {
	lists map[issuerKey][]*CRL
	deny  []*Denylist
	opts  SetOptions
}

// NewSet joins lists and denylists, of which any may be nil. Of two lists about the
// same certificates the newer counts. An issuer that splits its list by
// distribution point must be given with all the parts.
func NewSet(lists []*CRL, deny []*Denylist, opts SetOptions) *Set {
	s := &Set{lists: make(map[issuerKey][]*CRL), opts: opts}
	for _, d := range deny {
		if d != nil {
			s.deny = append(s.deny, d)
		}
	}
	for _, c := range lists {
		key := issuerKeyOf(c.Issuer)
		same := slices.IndexFunc(s.lists[key], func(o *CRL) bool { return o.scope == c.scope })
		switch {
		case same < 0:
			s.lists[key] = append(s.lists[key], c)
		case s.lists[key][same].olderThan(c):
			s.lists[key][same] = c
		}
	}
	return s
}

func (c *CRL) olderThan(other *CRL) bool {
	if c.Number != nil && other.Number != nil {
		if order := c.Number.Cmp(other.Number); order != 0 {
			return order < 0
		}
	}
	return c.ThisUpdate.Before(other.ThisUpdate)
}

// Status is the answer of a [Set].
type Status uint8

// The answers. The zero value lets nobody in.
const (
	Unknown Status = iota // required, and not to be had
	Good
	Revoked
)

func (s Status) String() string {
	return [...]string{"unknown", "good", "revoked"}[min(s, Revoked)]
}

// A Result is a status and where it comes from. Its text is made when asked for.
type Result struct {
	Status Status
	Depth  int // of the certificate in the chain; 0 is the leaf

	deny   *Denylist
	line   uint32
	list   *CRL
	entry  revoked
	issuer *x509.Certificate
	why    string
}

// Check answers for a client at time now. It allocates nothing and does no I/O.
func (s *Set) Check(k *Keys, now time.Time) Result {
	if len(k.certs) == 0 {
		return Result{why: "no certificate"}
	}
	for _, d := range s.deny {
		if depth, line, found := d.find(k); found {
			return Result{Status: Revoked, Depth: depth, deny: d, line: line}
		}
	}
	result := Result{Status: Good}
	for i := range k.certs {
		if k.certs[i].issuer == nil {
			continue
		}
		r := s.checkCert(&k.certs[i], i, now)
		if r.Status == Revoked {
			return r
		}
		if r.Status == Unknown && result.Status == Good {
			result = r
		}
	}
	return result
}

// CheckChain is [Set.Check] of a chain that is not kept.
func (s *Set) CheckChain(chain []*x509.Certificate, names []pki.SAN, now time.Time) Result {
	return s.Check(KeysOf(chain, names), now)
}

func (s *Set) checkCert(c *certKeys, depth int, now time.Time) Result {
	lists := s.lists[c.issuerKey]
	unknown := Result{Depth: depth, issuer: c.issuer}
	if len(lists) > 0 && !c.numbered {
		unknown.why = "its serial number is longer than a list can hold"
		return unknown
	}
	covered := false
	for _, list := range lists {
		if !list.covers(c.ca) {
			continue
		}
		covered = true
		if entry, found := list.entries.find(c.number); found {
			return Result{Status: Revoked, Depth: depth, list: list, entry: entry, issuer: c.issuer}
		}
		if now.After(list.NextUpdate.Add(s.opts.Grace)) {
			unknown.list, unknown.why = list, "its issuer's list is past its next update"
		}
	}
	switch {
	case s.opts.Mode == Soft:
		return Result{Status: Good}
	case unknown.list != nil:
		return unknown
	case covered:
		return Result{Status: Good}
	case depth == 0:
		unknown.why = "there is no list of its issuer"
		return unknown
	case len(s.opts.Missing) > 0:
		unknown.why = "there is no list of its issuer, and not all lists are there"
		return unknown
	}
	return Result{Status: Good}
}

var reasonNames = [...]string{1: "keyCompromise", 2: "cACompromise", 3: "affiliationChanged", 4: "superseded",
	5: "cessationOfOperation", 6: "certificateHold", 9: "privilegeWithdrawn", 10: "aACompromise"}

func reasonName(code uint8) string {
	if int(code) < len(reasonNames) {
		return cmp.Or(reasonNames[code], "unspecified")
	}
	return fmt.Sprintf("reason %d", code)
}

// Source names the denylist or the list that the answer is from; empty where it
// is good, or because there is no list.
func (r Result) Source() string {
	switch {
	case r.deny != nil:
		return r.deny.name
	case r.list != nil:
		return r.list.Name
	}
	return ""
}

// Detail says for the operator's log which list and which entry; empty when
// good. Issuers' names are quoted, so it stays one line.
func (r Result) Detail() string {
	var b strings.Builder
	switch {
	case r.Status == Good:
		return ""
	case r.deny != nil:
		fmt.Fprintf(&b, "denied by %s:%s", r.deny.name, r.deny.label(r.line))
	case r.Status == Revoked:
		fmt.Fprintf(&b, "on the list of %q of %s since %s, %s", r.issuer.Subject, stamp(r.list.ThisUpdate),
			stamp(time.Unix(int64(r.entry.at), 0)), reasonName(r.entry.reason))
	default:
		b.WriteString(r.why)
		if r.issuer != nil {
			fmt.Fprintf(&b, ": %q", r.issuer.Subject)
		}
		if r.list != nil {
			fmt.Fprintf(&b, ", ended at %s", stamp(r.list.NextUpdate))
		}
	}
	if r.Depth > 0 {
		fmt.Fprintf(&b, " (certificate %d of the chain, counted from the leaf as 0)", r.Depth)
	}
	return b.String()
}
