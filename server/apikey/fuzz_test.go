package apikey_test

import (
	"fmt"
	"hash/crc32"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/apikey"
)

var keyForm = regexp.MustCompile(`^sgk_([0-9A-Za-z]{11})_[0-9A-Za-z]{43}[0-9A-Za-z]{6}$`)

// reference returns the id of a key by the words of the format.
func reference(key string) (id string, ok bool) {
	parts := keyForm.FindStringSubmatch(key)
	if parts == nil || strings.HasSuffix(key, "\n") {
		return "", false
	}
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	body, sum := key[:len(key)-6], uint64(0)
	for _, c := range key[len(key)-6:] {
		sum = sum*62 + uint64(strings.IndexRune(alphabet, c))
	}
	return parts[1], sum == uint64(crc32.ChecksumIEEE([]byte(body)))
}

// FuzzParse checks the key format against a second implementation, and that a ring
// takes no text but the key itself.
//
// Holds: client/api-key-exact
func FuzzParse(f *testing.F) {
	key, id, err := apikey.Mint()
	if err != nil {
		f.Fatal(err)
	}
	now := time.Now()
	ring, err := apikey.NewRing([]apikey.Entry{{ID: id, Tenant: "acme", Digest: apikey.Digest(key)}})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{key, key + "\n", strings.ToUpper(key), key[:64], "sgk_", strings.Repeat("0", 65), "sgk_" + id + "_", strings.Replace(key, "_", "\x00", 1),
		"sgk_00000000000_" + strings.Repeat("0", 43) + "zzzzzz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := apikey.Parse(text)
		if want, wantOK := reference(text); ok != wantOK || ok && got != want {
			t.Errorf("Parse(%q) = %q, %v, want %q, %v", text, got, ok, want, wantOK)
		}
		if entry, verdict := ring.Lookup(text, now); (entry != nil || verdict == apikey.OK) && text != key {
			t.Errorf("%q was taken for another key: %v", text, fmt.Sprint(verdict))
		}
	})
}
