package pki

import (
	"fmt"
	"strings"
)

const spiffeScheme = "spiffe://"

// schemeBytes may stand in a URI's scheme (RFC 3986, 3.1).
const schemeBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-."

// strictURI refuses what two parsers could read in two ways: anything outside
// printable ASCII, percent escapes, dot segments, empty segments, query,
// fragment, and in a SPIFFE ID also user info, port, upper case in the trust
// domain and characters outside SPIFFE-ID section 2.
func strictURI(uri string) error {
	if strings.ContainsFunc(uri, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return refuse(SANInvalid, fmt.Sprintf("URI %q has a byte outside printable ASCII", uri))
	}
	if i := strings.IndexAny(uri, `%?#\"<>^{|}*`+"`"); i >= 0 {
		return refuse(SANInvalid, fmt.Sprintf("URI %q contains %q", uri, uri[i]))
	}
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok || rest == "" || strings.Trim(scheme, schemeBytes) != "" || !isAlnum(rune((scheme + ".")[0])) {
		return refuse(SANInvalid, fmt.Sprintf("%q is not an absolute URI", uri))
	}
	if strings.EqualFold(scheme, "spiffe") {
		return strictSPIFFE(uri)
	}
	rest, hierarchical := strings.CutPrefix(rest, "//")
	segments := strings.Split(rest, "/")
	for i, segment := range segments {
		bare := !hierarchical && len(segments) == 1
		if segment == "" || (!bare && (segment == "." || segment == "..")) || (i == 0 && strings.Contains(segment, "@") && hierarchical) {
			return refuse(SANInvalid, fmt.Sprintf("URI %q has an empty or dot segment, or user info", uri))
		}
	}
	return nil
}

// strictSPIFFE checks a SPIFFE ID (SPIFFE-ID, section 2): lower-case scheme and
// trust domain, path segments of letters, digits, '.', '-' and '_'.
func strictSPIFFE(uri string) error {
	rest, ok := strings.CutPrefix(uri, spiffeScheme)
	if !ok {
		return refuse(SANInvalid, fmt.Sprintf("%q: the scheme must read spiffe://", uri))
	}
	domain, path, hasPath := strings.Cut(rest, "/")
	if strings.Trim(domain, ".") == "" || len(domain) > 255 || strings.ContainsFunc(domain, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_')
	}) {
		return refuse(SANInvalid, fmt.Sprintf("SPIFFE ID %q: bad trust domain", uri))
	}
	if !hasPath {
		return refuse(SANInvalid, fmt.Sprintf("SPIFFE ID %q has no path: it names a trust domain, not a workload", uri))
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.ContainsFunc(segment, func(c rune) bool {
			return !(isAlnum(c) || c == '.' || c == '-' || c == '_')
		}) {
			return refuse(SANInvalid, fmt.Sprintf("SPIFFE ID %q: bad path segment %q", uri, segment))
		}
	}
	return nil
}

// strictDNS accepts host names of letters, digits, '-' and '_' and returns
// them in lower case. Wildcards name many holders, so they name none.
func strictDNS(name string) (string, error) {
	if name == "" || len(name) > 253 {
		return "", refuse(SANInvalid, fmt.Sprintf("a DNS name of %d bytes", len(name)))
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(c rune) bool { return !(isAlnum(c) || c == '-' || c == '_') }) {
			return "", refuse(SANInvalid, fmt.Sprintf("DNS name %q: bad label %q", name, label))
		}
	}
	return strings.ToLower(name), nil
}

// strictEmail accepts an address of one '@' with a dot-atom before it
// (RFC 5322, 3.2.3), but for %, *, { and }, which mean something in rules, and returns it with its domain in lower case.
func strictEmail(address string) (string, error) {
	local, domain, ok := strings.Cut(address, "@")
	if !ok || local == "" || len(local) > 64 {
		return "", refuse(SANInvalid, fmt.Sprintf("%q is not an e-mail address", address))
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(c rune) bool {
			return !isAlnum(c) && !strings.ContainsRune("!#$&'+-/=?^_`|~", c)
		}) {
			return "", refuse(SANInvalid, fmt.Sprintf("%q: bad local part", address))
		}
	}
	domain, err := strictDNS(domain)
	if err != nil {
		return "", err
	}
	return local + "@" + domain, nil
}

func isAlnum(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
