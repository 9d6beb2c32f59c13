package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// A Kind says what a record is about.
type Kind string

// The kinds there are.
const (
	Refused    Kind = "refused"     // a request was not let through
	BadRequest Kind = "bad_request" // a request was let through, and what it sent was wrong
	Change     Kind = "change"      // something was changed by /api

	ToolCall     Kind = "tool_call"     // a tool ran, or was to
	ResourceRead Kind = "resource_read" // a resource was read, or was to be
	PromptGet    Kind = "prompt_get"    // a prompt was fetched, or was to be
	Completion   Kind = "completion"    // an argument of a prompt or resource was completed, or was to be
)

// Use reports whether it is the use of a tool, resource or prompt.
func (k Kind) Use() bool {
	switch k {
	case ToolCall, ResourceRead, PromptGet, Completion:
		return true
	}
	return false
}

const (
	maxValue   = 512 // bytes of one value; the rest is cut and "…" put
	maxFactors = 8

	// timeLayout is RFC 3339 with all nine digits, so that lines sort by time.
	timeLayout = "2006-01-02T15:04:05.000000000Z07:00"
)

// A Record is one line. Empty fields are left out, and the order of the fields
// is the order here. Values may be a peer's: each is cut to 512 bytes and
// written so that a terminal shows it as text.
type Record struct {
	Time        time.Time     `json:"-"` // "time", in UTC; now where zero
	Kind        Kind          `json:"kind"`
	RequestID   string        `json:"requestId,omitempty"`
	Remote      string        `json:"remote,omitempty"` // ip:port
	Tenant      string        `json:"tenant,omitempty"`
	Identity    string        `json:"identity,omitempty"`    // the name in the certificate
	Serial      string        `json:"serial,omitempty"`      // of the certificate, hex
	Fingerprint string        `json:"fingerprint,omitempty"` // SHA-256 of the certificate, hex
	Rule        string        `json:"rule,omitempty"`        // the SAN rule that named the tenant
	Factors     []string      `json:"factors,omitempty"`     // what was checked; at most 8
	KeyID       string        `json:"keyId,omitempty"`       // of the API key, never the key
	Issuer      string        `json:"issuer,omitempty"`      // of the token
	Subject     string        `json:"subject,omitempty"`     // of the token
	Stage       string        `json:"stage,omitempty"`       // where the decision ended
	Reason      string        `json:"reason,omitempty"`      // of the closed set
	Method      string        `json:"method,omitempty"`
	Path        string        `json:"path,omitempty"` // the route's pattern, never what the peer sent
	Tool        string        `json:"tool,omitempty"`
	Name        string        `json:"name,omitempty"`   // of the resource, template or prompt
	Action      string        `json:"action,omitempty"` // of a change: key.mint
	Object      string        `json:"object,omitempty"` // of a change: k1
	Outcome     string        `json:"outcome,omitempty"`
	Records     int           `json:"records,omitempty"` // that it stands for, if more than 1; see [Log.WriteOften]
	Duration    time.Duration `json:"-"`                 // "durationMs", to the microsecond; 0 is left out, but not of a use
}

// line is a Record as it is written.
type line struct {
	Time string `json:"time"`
	Record
	DurationMs *float64 `json:"durationMs,omitempty"`
}

// appendTo adds the record to buf as one line with its newline.
func (r *Record) appendTo(buf *bytes.Buffer, now func() time.Time) error {
	l := line{Record: *r}
	l.bound()
	if r.Time.IsZero() {
		l.Time = now().UTC().Format(timeLayout)
	} else {
		l.Time = r.Time.UTC().Format(timeLayout)
	}
	if r.Duration != 0 || r.Kind.Use() {
		l.DurationMs = new(math.Round(float64(r.Duration)/1e3) / 1e3)
	}
	start := buf.Len()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(&l); err != nil {
		return fmt.Errorf("audit: record not encoded: %w", err)
	}
	escape(buf, start)
	return nil
}

// bound cuts every value that is too long.
func (l *line) bound() {
	l.Kind = Kind(bound(string(l.Kind)))
	for _, v := range [...]*string{
		&l.RequestID, &l.Remote, &l.Tenant, &l.Identity, &l.Serial, &l.Fingerprint, &l.Rule,
		&l.KeyID, &l.Issuer, &l.Subject, &l.Stage, &l.Reason, &l.Method, &l.Path,
		&l.Tool, &l.Name, &l.Action, &l.Object, &l.Outcome,
	} {
		*v = bound(*v)
	}
	if len(l.Factors) == 0 {
		return
	}
	given := l.Factors[:min(len(l.Factors), maxFactors)]
	l.Factors = make([]string, len(given)) // the caller's stay as they are
	for i, f := range given {
		l.Factors[i] = bound(f)
	}
}

// bound is s as UTF-8 of at most maxValue bytes. Each byte that is not UTF-8
// becomes U+FFFD; where something was cut, "…" stands at the end.
func bound(s string) string {
	if len(s) <= maxValue && utf8.ValidString(s) {
		return s
	}
	const mark = "…"
	var b strings.Builder
	for _, r := range s { // at most maxValue rounds
		if b.Len()+utf8.RuneLen(r) > maxValue-len(mark) {
			return b.String() + mark
		}
		b.WriteRune(r)
	}
	return b.String()
}

// escape writes what a terminal would not show as text, from start on, as \u:
// DEL, C1 controls, marks that turn the direction of text. JSON escapes only
// what is below a space; the value stays the same.
func escape(buf *bytes.Buffer, start int) {
	plain := func(r rune) bool { return r == '\n' || strconv.IsPrint(r) }
	text := buf.Bytes()[start:]
	if bytes.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return
	}
	in := string(text)
	buf.Truncate(start)
	for _, r := range in {
		switch hi, lo := utf16.EncodeRune(r); {
		case plain(r):
			buf.WriteRune(r)
		case r > 0xFFFF:
			fmt.Fprintf(buf, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(buf, `\u%04x`, r)
		}
	}
}
