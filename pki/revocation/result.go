package revocation

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"strings"
	"time"
)

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
	points []certPoint // of the certificate, where no list answers for it
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
		if r.list != nil && !r.list.outdated {
			fmt.Fprintf(&b, ", ended at %s", stamp(r.list.NextUpdate))
		}
		if len(r.points) > 0 {
			describe(&b, r.points)
		}
	}
	if r.Depth > 0 {
		fmt.Fprintf(&b, " (certificate %d of the chain, counted from the leaf as 0)", r.Depth)
	}
	return b.String()
}
