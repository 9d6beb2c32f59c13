package sanrule

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/sangate/sangate/pki"
)

// maxSegments bounds the segments of a rule and so the depth of a look-up.
const maxSegments = 24

// A Rule is one parsed SAN rule.
type Rule struct {
	text     string
	kind     pki.SANType
	segments []string     // of URI, DNS (last label first), e-mail (domain, then local part)
	prefix   netip.Prefix // of IP
}

// String returns the rule as it was written.
func (r Rule) String() string { return r.text }

// Captures returns the names of the rule's captures, without braces.
func (r Rule) Captures() []string {
	var names []string
	for _, s := range r.segments {
		if isCapture(s) {
			names = append(names, s[1:len(s)-1])
		}
	}
	return names
}

// Segments of a pattern with a meaning of their own.
const (
	star    = "*"  // exactly one
	rest    = "**" // one or more, last only
	capture = "{"  // exactly one, and what it was is told
)

func isCapture(s string) bool { return strings.HasPrefix(s, capture) }

var captureName = regexp.MustCompile(`^\{[a-z][A-Za-z0-9]{0,30}\}$`)

// Parse reads a rule, "type:pattern".
func Parse(text string) (Rule, error) {
	kind, pattern, ok := strings.Cut(text, ":")
	r := Rule{text: text}
	if !ok || pattern == "" {
		return r, fmt.Errorf("SAN rule %q: write a type and a pattern, such as uri:spiffe://example.org/agent/*", text)
	}
	var err error
	switch kind {
	case "uri":
		r.kind = pki.URI
		r.segments = strings.Split(pattern, "/")
		err = checkURI(r.segments)
	case "dns":
		r.kind = pki.DNS
		r.segments = labels(pattern)
		err = noneEmpty(r.segments)
	case "email":
		r.kind = pki.Email
		local, domain, found := strings.Cut(pattern, "@")
		if !found {
			err = fmt.Errorf("an e-mail rule needs an '@'")
			break
		}
		r.segments = append(labels(domain), local)
		err = noneEmpty(r.segments)
	case "ip":
		r.kind = pki.IP
		r.prefix, err = parsePrefix(pattern)
	default:
		err = fmt.Errorf("type %q: use uri, dns, email or ip", kind)
	}
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return r, fmt.Errorf("SAN rule %q: %w", text, err)
	}
	return r, nil
}

// check looks at the wildcards: whole segments only, and "**" last.
func (r *Rule) check() error {
	if len(r.segments) > maxSegments {
		return fmt.Errorf("more than %d segments", maxSegments)
	}
	for i, s := range r.segments {
		switch {
		case s == star, captureName.MatchString(s):
		case s == rest:
			if i != len(r.segments)-1 || r.kind == pki.Email {
				return fmt.Errorf("** stands for the rest, so nothing can follow it")
			}
		case strings.ContainsAny(s, "*{}"):
			return fmt.Errorf("%q: *, ** and {name} stand for whole segments", s)
		case strings.Contains(s, "%") || s == "." || s == "..":
			return fmt.Errorf("%q can never match: such names are refused in certificates", s)
		}
	}
	if len(r.Captures()) > 1 {
		return fmt.Errorf("at most one segment can be captured")
	}
	return nil
}

func checkURI(segments []string) error {
	if !strings.Contains(segments[0], ":") {
		return fmt.Errorf("the pattern must begin with a scheme, such as spiffe://")
	}
	fixed := segments[:1]
	body := segments[1:]
	if len(segments) > 2 && segments[1] == "" { // scheme://authority
		fixed = []string{segments[0], segments[2]}
		body = segments[2:]
	}
	for _, s := range fixed {
		if strings.ContainsAny(s, "*{}") {
			return fmt.Errorf("scheme and trust domain must be written out")
		}
	}
	return noneEmpty(body)
}

func noneEmpty(segments []string) error {
	for _, s := range segments {
		if s == "" {
			return fmt.Errorf("an empty segment can never match")
		}
	}
	return nil
}

// labels splits a DNS name, last label first, in lower case but for captures.
func labels(name string) []string {
	parts := strings.Split(name, ".")
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	for i, p := range parts {
		if !isCapture(p) {
			parts[i] = strings.ToLower(p)
		}
	}
	return parts
}

func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, err
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%s has bits beyond its length; write %s", p, p.Masked())
	}
	return p, nil
}
