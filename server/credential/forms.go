package credential

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// parts returns what a peer may repeat of a secret: the value and what is inside it.
func (s *Secret) parts() []string {
	parts := []string{s.Value}
	switch s.Type {
	case Basic:
		_, password, _ := strings.Cut(s.Value, ":")
		parts = append(parts, password, base64.StdEncoding.EncodeToString([]byte(s.Value)))
	case OAuth2:
		if c, err := s.oauth(); err == nil {
			parts = append(parts, c.ClientSecret)
		}
	}
	return parts
}

// formsOf returns the encodings in which a peer may repeat a value.
func formsOf(value string) [][]byte {
	seen := make(map[string]bool)
	var forms [][]byte
	add := func(text string) {
		for _, escaped := range escapedForms(text) {
			if !seen[escaped] {
				seen[escaped] = true
				forms = append(forms, []byte(escaped))
			}
		}
	}
	for _, text := range slices.Compact([]string{value, url.QueryEscape(value), url.PathEscape(value)}) {
		add(text)
		hexadecimal := hex.EncodeToString([]byte(text))
		add(hexadecimal)
		add(strings.ToUpper(hexadecimal))
		for _, encoded := range base64Forms(text) {
			add(encoded)
		}
	}
	return forms
}

// base64Forms returns the characters that text determines in the base64 of something longer that contains it, at each
// of the three alignments and in both alphabets.
func base64Forms(text string) []string {
	var out []string
	for before := range 3 {
		padded := append(make([]byte, before), text...)
		from, to := (before*8+5)/6, len(padded)*8/6
		for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			out = append(out, alphabet.EncodeToString(padded)[from:to])
		}
	}
	return out
}

var percentEscape = regexp.MustCompile(`%[0-9A-F]{2}`)

// escapedForms returns text as it is and as JSON (once and inside another JSON string), Go quoting, HTML and URLs
// escape it.
func escapedForms(text string) []string {
	if !strings.ContainsFunc(text, isEscaped) {
		return []string{text}
	}
	once := append(jsonForms(text), strings.Trim(strconv.Quote(text), `"`), strings.Trim(strconv.QuoteToASCII(text), `"`),
		html.EscapeString(text), strings.NewReplacer("&#34;", "&quot;", "&#39;", "&#x27;").Replace(html.EscapeString(text)),
		url.QueryEscape(text), url.PathEscape(text))
	out := []string{text}
	for _, form := range once {
		if form == text {
			continue
		}
		out = append(out, form)
		out = append(out, jsonForms(form)...)
		if lower := percentEscape.ReplaceAllStringFunc(form, strings.ToLower); lower != form {
			out = append(out, lower)
		}
	}
	return out
}

// isEscaped reports whether any of the escapes changes a character.
func isEscaped(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.' || r == '~')
}

// jsonForms returns text inside a JSON string: as Go writes it for HTML and not, with slashes escaped, and in ASCII.
func jsonForms(text string) []string {
	forHTML, err := json.Marshal(text)
	if err != nil {
		return nil
	}
	inner := string(forHTML[1 : len(forHTML)-1])
	plain := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(inner)
	return []string{inner, plain, strings.ReplaceAll(plain, "/", `\/`), strings.ReplaceAll(inner, "/", `\/`), strings.ReplaceAll(inner, "+", `\u002b`), ascii(plain)}
}

// ascii escapes what is beyond ASCII as JSON does.
func ascii(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r < 0x80:
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	return b.String()
}

// secretWords are words in the names of settings that hold secrets.
var secretWords = regexp.MustCompile(`(?i)password|passwd|passphrase|secret|token|credential|` +
	`(^|[^a-z])((api|access|private)?key|pass|pwd|pat|auth|authorization|cookie|bearer|signature|sig|sas|dsn|webhook|jwt)([^a-z]|$)`)

var camelCase = regexp.MustCompile(`([a-z0-9])([A-Z])`)

// SecretName reports whether a variable, header or parameter of this name holds a secret, as far as names tell.
func SecretName(name string) bool {
	return secretWords.MatchString(camelCase.ReplaceAllString(name, "${1}_$2"))
}
