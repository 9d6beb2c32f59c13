package audit

import (
	"bytes"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func encode(t testing.TB, r *Record) string {
	t.Helper()
	var buf bytes.Buffer
	if err := r.appendTo(&buf, func() time.Time { return start }); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func TestLine(t *testing.T) {
	tests := []struct {
		name string
		r    Record
		want string
	}{
		{"refused", Record{
			Time: time.Date(2026, 11, 23, 9, 0, 0, 1000, time.FixedZone("", 3600)), Kind: Refused, RequestID: "r1",
			Tenant: "acme", Identity: "spiffe://example.org/a?<&>", Serial: "0a", Fingerprint: "ff", Rule: "uri:spiffe://example.org/*",
			Factors: []string{"certificate", "api_key"}, KeyID: "k1", Issuer: "i", Subject: "s", Stage: "bearer",
			Reason: "token_expired", Method: "POST", Path: "/tool/{name}/call", Tool: "echo", Outcome: "401",
			Duration: 1234567, Action: "a", Object: "o", Remote: "[::1]:5",
		}, `{"time":"2026-11-23T08:00:00.000001000Z","kind":"refused","requestId":"r1","remote":"[::1]:5","tenant":"acme",` +
			`"identity":"spiffe://example.org/a?<&>","serial":"0a","fingerprint":"ff","rule":"uri:spiffe://example.org/*",` +
			`"factors":["certificate","api_key"],"keyId":"k1","issuer":"i","subject":"s","stage":"bearer","reason":"token_expired",` +
			`"method":"POST","path":"/tool/{name}/call","tool":"echo","action":"a","object":"o","outcome":"401","durationMs":1.235}`},
		{"change at no time", Record{Kind: Change, Action: "key.mint", Object: "k1"},
			`{"time":"2026-11-23T08:05:12.123456789Z","kind":"change","action":"key.mint","object":"k1"}`},
		{"tool call of no length", Record{Kind: ToolCall, Tool: "echo", Outcome: "ok"},
			`{"time":"2026-11-23T08:05:12.123456789Z","kind":"tool_call","tool":"echo","outcome":"ok","durationMs":0}`},
		{"what a terminal would take for its own", Record{Kind: Refused, Tool: "\n\x1b[2J\x7f\u009b2J\u202eabc\U000e0041é日"},
			`{"time":"2026-11-23T08:05:12.123456789Z","kind":"refused","tool":"\n\u001b[2J\u007f\u009b2J\u202eabc\udb40\udc41é日"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := encode(t, &tt.r); got != tt.want+"\n" {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
}

// Every value is bounded, those of fields to come as well.
//
// Holds: stranger/audit-values
func TestEveryValueIsBounded(t *testing.T) {
	long := strings.Repeat("é", 5<<10)
	want := strings.Repeat("é", (maxValue-3)/2) + "…"
	var r Record
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.String {
			f.SetString(long)
		}
	}
	r.Factors = slices.Repeat([]string{long}, 10)
	text := encode(t, &r)
	l, err := parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	v = reflect.ValueOf(l.Record)
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.String && f.String() != want {
			t.Errorf("%s is %d bytes, not cut as it should be", v.Type().Field(i).Name, f.Len())
		}
	}
	if len(l.Factors) != maxFactors || l.Factors[0] != want {
		t.Errorf("%d factors, the first of %d bytes", len(l.Factors), len(l.Factors[0]))
	}
	if len(r.Factors) != 10 || r.Factors[0] != long || r.Tool != long {
		t.Error("the caller's record was changed")
	}
}

func TestBound(t *testing.T) {
	whole := strings.Repeat("x", maxValue)
	for in, want := range map[string]string{
		"":                             "",
		whole:                          whole,
		whole + "x":                    whole[:maxValue-3] + "…",
		whole[:maxValue-4] + "ééé":     whole[:maxValue-4] + "…",
		"a\xff\xfeb":                   "a\ufffd\ufffdb",
		strings.Repeat("\xff", 10<<10): strings.Repeat("\ufffd", (maxValue-3)/3) + "…",
	} {
		if got := bound(in); got != want {
			t.Errorf("%.20q of %d bytes: %d bytes %q", in, len(in), len(got), got)
		}
	}
}

// FuzzLine checks that whatever a peer sends is one line that parses to the same
// bounded value, and holds nothing that a terminal would act upon.
//
// Holds: stranger/audit-line
func FuzzLine(f *testing.F) {
	for _, s := range []string{"", "x", "\n", "\r\n{}", "\x1b]0;x\a", "\xff\xfe", "\xed\xa0\x80", `"\`, "\x00", "\u2028\u2029",
		"\u009b", "\x7f", "\U000e0041\U0010ffff", strings.Repeat("\n", 10<<10), strings.Repeat("é", 255) + "\xff", "</script>"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		text := encode(t, &Record{Kind: Kind(a), Identity: a, Tool: b, Factors: []string{b, a}})
		if strings.Count(text, "\n") != 1 || text[len(text)-1] != '\n' {
			t.Fatalf("not one line: %q", text)
		}
		l, err := parse([]byte(text))
		if err != nil {
			t.Fatalf("%v: %q", err, text)
		}
		if string(l.Kind) != bound(a) || l.Identity != bound(a) || l.Tool != bound(b) || !slices.Equal(l.Factors, []string{bound(b), bound(a)}) {
			t.Fatalf("%q and %q became %q", a, b, text)
		}
		for _, r := range text[:len(text)-1] {
			if !strconv.IsPrint(r) {
				t.Fatalf("%U is in the line", r)
			}
		}
		if again := encode(t, &l.Record); len(a) <= maxValue && len(b) <= maxValue && utf8.ValidString(a+b) && again != text {
			t.Fatalf("%q encodes to %q the second time", text, again)
		}
	})
}
