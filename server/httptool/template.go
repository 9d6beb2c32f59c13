package httptool

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/sangate/sangate/server/egress"
	"github.com/sangate/sangate/server/expr"
	"github.com/sangate/sangate/server/tool"
)

// A template is a URL with {expressions} in it: in its host over the tenant alone,
// in its path over anything.
type template struct {
	parts []part
}

// A part is literal text, or an expression of which the value is put there.
type part struct {
	text string
	expr *expr.Program
	host bool
}

// parseTemplate reads a template. An expression ends at the brace that closes it.
func parseTemplate(text string, host, path *expr.Language) (*template, error) {
	t := &template{}
	var probe strings.Builder // the template with values in it
	for rest := text; rest != ""; {
		literal, after, found := strings.Cut(rest, "{")
		if strings.ContainsAny(literal, "}?#") {
			return nil, errors.New("'}', '?' and '#' have no place in a URL here; parameters go into query")
		}
		if literal != "" {
			t.parts = append(t.parts, part{text: literal})
			probe.WriteString(literal)
		}
		if !found {
			break
		}
		end, err := closing(after)
		if err != nil {
			return nil, err
		}
		inside, language := inHost(probe.String()), path
		if inside {
			language = host
		}
		e, err := language.Compile(after[:end], expr.String, expr.Int)
		if err != nil {
			if inside {
				return nil, fmt.Errorf("in the host, where the tenant alone is known: {%s}: %w", after[:end], err)
			}
			return nil, fmt.Errorf("{%s}: %w", after[:end], err)
		}
		t.parts = append(t.parts, part{expr: e, host: inside})
		probe.WriteString("x")
		rest = after[end+1:]
	}
	if err := egress.CheckURL(probe.String()); err != nil {
		return nil, err
	}
	u, err := url.Parse(probe.String())
	if err != nil || u.Port() == "x" {
		return nil, errors.New("no URL")
	}
	return t, checkPath(u.EscapedPath())
}

// inHost reports whether what follows still belongs to the scheme or the host.
func inHost(before string) bool {
	_, after, found := strings.Cut(before, "://")
	return !found || !strings.Contains(after, "/")
}

// closing finds the brace that ends an expression, past braces and texts in it.
func closing(s string) (int, error) {
	depth, quote := 0, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '{':
			depth++
		case c == '}' && depth == 0:
			return i, nil
		case c == '}':
			depth--
		}
	}
	return 0, errors.New("an expression that does not end: write {…}")
}

// uses reports whether an expression of the template reads the variable.
func (t *template) uses(variable string) bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.expr != nil && p.expr.Uses(variable) })
}

var hostLabels = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)

// expand fills the template.
func (t *template) expand(ctx context.Context, vars map[string]any) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		if p.expr == nil {
			b.WriteString(p.text)
			continue
		}
		v, err := p.expr.Eval(ctx, vars)
		if err != nil {
			return "", err
		}
		value, ok := scalar(v)
		switch {
		case !ok || value == "":
			return "", tool.Errorf("What stands in the address is missing: %s.", p.expr)
		case p.host && !hostLabels.MatchString(value):
			return "", fmt.Errorf("%s is %q, which is no part of a host name", p.expr, value)
		case !p.host && leaves(value):
			return "", tool.Errorf("%q cannot stand in an address.", value)
		}
		if !p.host {
			value = url.PathEscape(value)
		}
		b.WriteString(value)
	}
	return b.String(), nil
}

// leaves reports a value that a server might take for more than one segment's
// name: one that climbs, or holds what no name does.
func leaves(value string) bool {
	for segment := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == '/' || r == '\\' }) {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

// checkPath refuses dot segments in what is written.
func checkPath(path string) error {
	for segment := range strings.SplitSeq(path, "/") {
		if plain, err := url.PathUnescape(segment); err != nil || plain == "." || plain == ".." {
			return errors.New("the address would leave its path")
		}
	}
	return nil
}
