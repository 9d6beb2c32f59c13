package config

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sangate/sangate/server/credential"
)

// A redactor replaces values that came from the environment by the ${NAME} they came
// from. Its zero value replaces nothing.
type redactor struct {
	names map[string]string // ${NAME}, by value
}

func (r *redactor) add(name, value string) {
	if value == "" {
		return
	}
	if r.names == nil {
		r.names = make(map[string]string)
	}
	if had := r.names[value]; had != "" && credential.SecretName(had[2:len(had)-1]) {
		return // the value of a secret stays one under another name
	}
	r.names[value] = "${" + name + "}"
}

// whole replaces every value, in each spelling in which libraries quote one.
func (r *redactor) whole(text string) string {
	spellings := make(map[string]string)
	for value, name := range r.names {
		for _, s := range spell(value) {
			if len(s) >= minFragment {
				spellings[s] = name
			} else {
				text = replaceWord(text, s, name)
			}
		}
	}
	longestFirst := func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) }
	order := make([]string, 0, len(spellings))
	for s := range spellings {
		order = append(order, s)
	}
	slices.SortFunc(order, longestFirst)
	pairs := make([]string, 0, 2*len(order))
	for _, s := range order {
		pairs = append(pairs, s, spellings[s])
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// Lengths from which a part of a value is replaced: where it is a word by itself, and
// inside of words. Ordinary words have the shorter parts in common with many values.
const (
	minFragment = 4
	minInside   = 8
)

// fragments replaces, after whole values, parts of them: a parser quotes the token or
// the port it did not understand.
func (r *redactor) fragments(text string) string {
	text = r.whole(text)
	for value, name := range r.names {
		for _, s := range spell(value) {
			text = replaceParts(text, s, name)
		}
	}
	return text
}

// maxParts bounds the value whose parts are searched for.
const maxParts = 64 << 10

func replaceParts(text, value, name string) string {
	if len(value) < minFragment {
		return text
	}
	value = value[:min(len(value), maxParts)]
	var out strings.Builder
	for i := 0; i < len(text); {
		if strings.HasPrefix(text[i:], "${") { // a name that was put in before
			if end := strings.IndexByte(text[i:], '}'); end >= 0 {
				out.WriteString(text[i : i+end+1])
				i += end + 1
				continue
			}
		}
		n := 0
		for i+n < len(text) && strings.Contains(value, text[i:i+n+1]) {
			n++
		}
		if n >= minInside || n >= minFragment && isWord(text, i, i+n) {
			out.WriteString(name)
			i += n
			continue
		}
		out.WriteByte(text[i])
		i++
	}
	return out.String()
}

// spell returns a value as it may stand in an error: raw, its lines, quoted for Go and
// JSON, URL-escaped and in base64.
func spell(value string) []string {
	quoted := fmt.Sprintf("%q", value)
	ascii := fmt.Sprintf("%+q", value)
	asJSON, _ := json.Marshal(value) // a string has no error
	out := []string{value, quoted[1 : len(quoted)-1], ascii[1 : len(ascii)-1], string(asJSON[1 : len(asJSON)-1]),
		strings.ReplaceAll(value, "\n", "; "), url.QueryEscape(value), url.PathEscape(value),
		base64.StdEncoding.EncodeToString([]byte(value)), base64.RawURLEncoding.EncodeToString([]byte(value))}
	for line := range strings.Lines(value) {
		out = append(out, strings.TrimSpace(line))
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(s string) bool { return s == "" })
}

// replaceWord replaces s where no letter or digit is next to it.
func replaceWord(text, s, name string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, s)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		if isWord(text, len(before), len(before)+len(s)) {
			out.WriteString(name)
		} else {
			out.WriteString(s)
		}
		text = after
	}
}

// isWord reports whether no letter or digit is next to text[from:to].
func isWord(text string, from, to int) bool {
	part := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	left, _ := utf8.DecodeLastRuneInString(text[:from])
	right, _ := utf8.DecodeRuneInString(text[to:])
	return !part(left) && !part(right)
}

// secrets returns the values of variables with the name of a secret, sorted.
func (r *redactor) secrets() []string {
	var out []string
	for value, name := range r.names {
		if credential.SecretName(name[2 : len(name)-1]) {
			out = append(out, value)
		}
	}
	slices.Sort(out)
	return out
}

// maxRedacted bounds the text of an error that is searched for parts of values.
const maxRedacted = 8 << 10

// Redact returns err without values that the configuration took from the environment,
// and without parts of them. What errors.Is says of err it says of the result, too, but
// nothing leads back to err: of the types that errors.As finds, only [Problems] is left.
func (c *Config) Redact(err error) error {
	if err == nil || len(c.redact.names) == 0 {
		return err
	}
	if done, ok := err.(*redactedError); ok {
		return done
	}
	e := &redactedError{text: c.redact.text(err.Error()), is: func(target error) bool { return errors.Is(err, target) }}
	if problems, ok := errors.AsType[Problems](err); ok {
		e.problems = slices.Clone(problems)
		for i := range e.problems {
			e.problems[i].Message = c.redact.text(e.problems[i].Message)
		}
	}
	return e
}

// RedactText returns a text that holds configured values, such as a path, with values
// from the environment replaced by the names of their variables.
func (c *Config) RedactText(text string) string { return c.redact.whole(text) }

// text replaces values before it cuts, because a part of one may be too short to be
// found.
func (r *redactor) text(text string) string {
	text = r.whole(text)
	return r.fragments(strings.ToValidUTF8(text[:min(len(text), maxRedacted)], ""))
}

// A redactedError holds no error, so that no way of printing or unwrapping it shows one.
type redactedError struct {
	text     string
	is       func(error) bool
	problems Problems
}

func (e *redactedError) Error() string        { return e.text }
func (e *redactedError) Is(target error) bool { return e.is(target) }

func (e *redactedError) As(target any) bool {
	problems, ok := target.(*Problems)
	if ok = ok && e.problems != nil; ok {
		*problems = e.problems
	}
	return ok
}
