package pki

import (
	"crypto/x509/pkix"
	"strings"
)

const (
	maxNameParts = 16   // attributes of one name that are shown
	maxNamePart  = 256  // bytes of one attribute that are shown
	maxNameText  = 1024 // bytes of one name that are shown
)

// NameText is pkix.Name.String for a name that anybody may have written: it
// takes bounded time and returns bounded text. pkix.Name.String takes time
// quadratic in the number of attributes.
func NameText(n pkix.Name) string {
	short := n
	short.ExtraNames = nil
	short.Names = nil
	for _, attribute := range n.Names[:min(len(n.Names), maxNameParts)] {
		if len(attribute.Type) > 16 {
			continue
		}
		if text, ok := attribute.Value.(string); ok {
			attribute.Value = Cut(text, maxNamePart)
		}
		short.Names = append(short.Names, attribute)
	}
	for _, values := range []*[]string{&short.Country, &short.Province, &short.Locality, &short.StreetAddress,
		&short.PostalCode, &short.Organization, &short.OrganizationalUnit} {
		var kept []string
		for _, value := range (*values)[:min(len(*values), maxNameParts)] {
			kept = append(kept, Cut(value, maxNamePart))
		}
		*values = kept
	}
	short.CommonName = Cut(n.CommonName, maxNamePart)
	short.SerialNumber = Cut(n.SerialNumber, maxNamePart)
	text := Cut(short.String(), maxNameText)
	if len(n.Names) > maxNameParts && !strings.HasSuffix(text, "…") {
		text += "…"
	}
	return text
}

// Cut returns s, or its first max bytes and an ellipsis where it is longer.
func Cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	return strings.ToValidUTF8(s[:max], "") + "…"
}
