package revocation

import (
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// FuzzReadEntries gets at what lies behind the signature.
func FuzzReadEntries(f *testing.F) {
	f.Add([]byte("\x30\x12\x02\x01\x01\x17\x0d260101000000Z"))
	f.Add([]byte("\x30\x14\x02\x01\x01\x18\x0f20260101000000Z"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := readEntries(cryptobyte.String(data))
		if err != nil {
			return
		}
		for i, r := range got.records {
			if value, found := got.find(r.key); !found || value != r.value {
				t.Fatalf("record %d is not found", i)
			}
		}
	})
}

func FuzzUnixTime(f *testing.F) {
	f.Add("260229000000Z", true)
	f.Add("20240229235959Z", false)
	f.Fuzz(func(t *testing.T, value string, utc bool) {
		tag, layout := asn1.GeneralizedTime, "20060102150405Z"
		if utc {
			tag, layout = asn1.UTCTime, "060102150405Z"
		}
		got, ok := unixTime(tag, []byte(value))
		want, err := time.Parse(layout, value)
		if utc && want.Year() >= 2050 {
			want = want.AddDate(-100, 0, 0)
		}
		strict := err == nil && len(value) == len(layout)
		if ok != strict || ok && got != want.Unix() {
			t.Errorf("%q: %d %v, not %d %v", value, got, ok, want.Unix(), strict)
		}
	})
}
