package revocation

import (
	"crypto/x509"
	"slices"
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
	// set in [Hard] mode does not pass an intermediate without a list, as the
	// missing one might be its issuer's, nor a certificate that names no
	// distribution point and whose issuer's lists are of parts, as it might be
	// on the missing one.
	Missing []string
	// Held is where the lists are from; nil: each list given counts as one that
	// must be current, for a certificate that names no distribution point.
	Held *Holdings
}

// A Set is all that is known of revocation at one time. It is immutable.
//
// In Hard mode every leaf needs a current list of its issuer, and so does every
// intermediate whose issuer has a list here. If the certificate names distribution
// points, the list must be about one of them or about all (RFC 5280, 6.3.3). In any
// mode, who is on some list of its issuer is revoked. A set of a denylist alone is Soft.
type Set struct {
	lists map[issuerKey]issuerLists
	deny  []*Denylist
	opts  SetOptions
}

// issuerLists are those of one issuer.
type issuerLists struct {
	lists  []listed
	at     map[string][]int // those of a distribution point, by each of its names
	absent bool             // one that was held is not
}

type listed struct {
	*CRL
	required bool // a file or URL stands for it
}

// NewSet joins lists and denylists, of which any may be nil. Of two lists about the
// same certificates the newer counts. An issuer that splits its list by
// distribution point must be given with all the parts.
func NewSet(lists []*CRL, deny []*Denylist, opts SetOptions) *Set {
	s := &Set{lists: make(map[issuerKey]issuerLists), opts: opts}
	for _, d := range deny {
		if d != nil {
			s.deny = append(s.deny, d)
		}
	}
	held := opts.Held
	if held != nil {
		for issuer := range held.absent {
			s.lists[issuer] = issuerLists{absent: true}
		}
	}
	for _, c := range lists {
		of := s.lists[c.id.issuer]
		next := listed{c, held == nil || held.required[c.id]}
		if same := slices.IndexFunc(of.lists, func(o listed) bool { return o.id == c.id }); same < 0 {
			of.lists = append(of.lists, next)
		} else if of.lists[same].olderThan(c) {
			of.lists[same] = next
		}
		s.lists[c.id.issuer] = of
	}
	for issuer, of := range s.lists {
		of.at = make(map[string][]int)
		for i, list := range of.lists {
			for _, name := range list.names {
				of.at[name.form] = append(of.at[name.form], i)
			}
		}
		s.lists[issuer] = of
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

// Knows reports whether there is a list of the issuer of each certificate but the last two:
// the anchor, and what it signed.
func (s *Set) Knows(k *Keys) bool {
	for i := range k.certs[:max(0, len(k.certs)-2)] {
		if len(s.lists[k.certs[i].issuerKey].lists) == 0 {
			return false
		}
	}
	return true
}

// CheckChain is [Set.Check] of a chain that is not kept.
func (s *Set) CheckChain(chain []*x509.Certificate, names []pki.SAN, now time.Time) Result {
	return s.Check(KeysOf(chain, names), now)
}

// checkCert answers for one certificate. On any list of its issuer it is revoked, whatever
// the list is about and however old it is.
func (s *Set) checkCert(c *certKeys, depth int, now time.Time) Result {
	of := s.lists[c.issuerKey]
	lists := of.lists
	if len(lists) > 0 && !c.numbered {
		return Result{Depth: depth, issuer: c.issuer, why: "its serial number is longer than a list can hold"}
	}
	for _, list := range lists {
		if entry, found := list.entries.find(c.number); found {
			return Result{Status: Revoked, Depth: depth, list: list.CRL, entry: entry, issuer: c.issuer}
		}
	}
	if s.opts.Mode == Soft {
		return Result{Status: Good}
	}
	if len(c.points) == 0 {
		return s.checkPointless(c, of, depth, now)
	}
	answered, ended := s.answers(c, of, now)
	switch {
	case answered == allReasons:
		return Result{Status: Good}
	case ended != nil:
		return Result{Depth: depth, issuer: c.issuer, list: ended, why: whyNot(ended), points: c.points}
	case len(lists) > 0:
		return Result{Depth: depth, issuer: c.issuer, why: "no list of its issuer is about it", points: c.points}
	}
	return s.unlisted(c, of, depth)
}

// answers returns the reasons for which current lists answer for a certificate with
// distribution points (RFC 5280, 6.3.3 (b) and (d)), and one that would if it were current.
func (s *Set) answers(c *certKeys, of issuerLists, now time.Time) (answered reasons, ended *CRL) {
	for _, list := range of.lists {
		switch {
		case !list.wide || !list.covers(c.ca):
		case s.current(list.CRL, now):
			return allReasons, nil
		default:
			ended = list.CRL
		}
	}
	for i := range c.points {
		p := &c.points[i]
		for j := range p.names {
			for _, at := range of.at[p.names[j].form] {
				switch list := of.lists[at]; {
				case !list.covers(c.ca):
				case s.current(list.CRL, now):
					answered |= p.reasons
				default:
					ended = list.CRL
				}
			}
		}
	}
	return answered, ended
}

// whyNot says why a list is not current.
func whyNot(list *CRL) string {
	if list.outdated {
		return "its issuer's list is older than one that was in force"
	}
	return "its issuer's list is past its next update"
}

// checkPointless answers for a certificate that names no distribution point: nothing says
// which of its issuer's lists it would be on. A list about all answers for it, and
// otherwise all parts together.
func (s *Set) checkPointless(c *certKeys, of issuerLists, depth int, now time.Time) Result {
	var ended *CRL
	parts := 0
	for _, list := range of.lists {
		switch {
		case !list.covers(c.ca):
		case !s.current(list.CRL, now):
			if list.required {
				ended = list.CRL
			}
		case list.wide:
			return Result{Status: Good}
		case list.required:
			parts++
		}
	}
	switch {
	case ended != nil:
		return Result{Depth: depth, issuer: c.issuer, list: ended, why: whyNot(ended)}
	case parts == 0:
		return s.unlisted(c, of, depth)
	case of.absent || len(s.opts.Missing) > 0:
		return Result{Depth: depth, issuer: c.issuer, why: "it names no distribution point, and not all lists are there"}
	}
	return Result{Status: Good}
}

// unlisted answers for a certificate whose issuer has no list about its kind.
func (s *Set) unlisted(c *certKeys, of issuerLists, depth int) Result {
	switch {
	case depth == 0:
		return Result{issuer: c.issuer, why: "there is no list of its issuer"}
	case of.absent || len(s.opts.Missing) > 0:
		return Result{Depth: depth, issuer: c.issuer, why: "there is no list of its issuer, and not all lists are there"}
	}
	return Result{Status: Good}
}

func (s *Set) current(list *CRL, now time.Time) bool {
	return !list.outdated && !now.After(list.NextUpdate.Add(s.opts.Grace))
}
