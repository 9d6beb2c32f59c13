package revocation

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"strings"

	"github.com/sangate/sangate/pki"
)

// A Line is one for a denylist, with what it covers.
type Line struct {
	Kind   string `json:"kind"` // name, key, certificate
	Entry  string `json:"entry"`
	Covers string `json:"covers"`
}

// Lineage returns the denylist lines that shut out a certificate's holder, the
// widest first: by each of its names, which lasts through renewal and rekey, by
// its key, which lasts through renewal, and by itself. Names that cannot stand
// in a rule are left out: the gate takes no certificate with them.
func Lineage(cert *x509.Certificate) []Line {
	var lines []Line
	if id, err := pki.ParseIdentity(cert); err == nil {
		for _, san := range id.SANs {
			lines = append(lines, Line{"name", "san:" + san.String(), "every certificate of this name, renewed and rekeyed ones too"})
		}
	}
	return append(lines,
		Line{"key", fmt.Sprintf("spki:%x", sha256.Sum256(cert.RawSubjectPublicKeyInfo)), "every certificate of this key: renewed ones, not rekeyed ones"},
		Line{"certificate", fmt.Sprintf("sha256:%x", sha256.Sum256(cert.Raw)), "this certificate alone"})
}

// AppendTo returns a denylist's text with the entries that are not in it yet,
// each with the comment, which must be of one line.
func AppendTo(text []byte, entries []string, comment string) []byte {
	have := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		entry, _ := entryOf([]byte(line))
		have[string(entry)] = true
	}
	if n := len(text); n > 0 && text[n-1] != '\n' {
		text = append(text, '\n')
	}
	for _, entry := range entries {
		if !have[entry] {
			have[entry] = true
			text = append(text, entry+"   # "+comment+"\n"...)
		}
	}
	return text
}
