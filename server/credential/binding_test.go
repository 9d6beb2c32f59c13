package credential

import (
	"testing"

	"github.com/sangate/sangate/server/store"
)

// No two rows that differ in a bound part have the same associated data, whatever
// characters the parts have.
//
// Holds: local/credential-moved
func TestAssociatedIsUnambiguous(t *testing.T) {
	parts := []string{"", "|", "a", "a|", "|a", "a|a", "1|1", "\x00", "\x00\x00\x00\x00\x00\x00\x00\x01a"}
	seen := make(map[string]store.Credential)
	for _, tenant := range parts {
		for _, name := range parts {
			for _, typ := range parts {
				for _, header := range parts {
					for _, id := range []int64{1, 11} {
						c := store.Credential{ID: id, Version: 12 - id, Tenant: tenant, Name: name, Type: typ, Header: header}
						data := string(associated(formNamed, &c))
						if other, ok := seen[data]; ok {
							t.Fatalf("%+v and %+v have the same data", other, c)
						}
						seen[data] = c
					}
				}
			}
		}
	}
}
