package tool

import (
	"fmt"
	"strings"

	"github.com/yosida95/uritemplate/v3"
)

// maxVariables bounds the variables of a template. The URI of every read is compared with all templates, which takes
// time in proportion to them, and the MCP SDK panics at the first read if one expression has over a thousand.
const maxVariables = 16

// Compile checks the URI of a template and prepares it; of other resources there is nothing to do.
func (r *Resource) Compile() error {
	if !r.Template {
		return nil
	}
	if r.Variables() > maxVariables {
		return fmt.Errorf("a template of more than %d variables", maxVariables)
	}
	t, err := uritemplate.New(r.URI)
	if err != nil {
		return err
	}
	r.pattern = t.Regexp()
	r.fixed, _, _ = strings.Cut(r.URI, "{")
	return nil
}

// Variables returns how many variables a template has at most.
func (r *Resource) Variables() int {
	if !r.Template {
		return 0
	}
	return strings.Count(r.URI, "{") + strings.Count(r.URI, ",")
}

// matches reports whether a template has the URI.
func (r *Resource) matches(uri string) bool {
	return r.pattern != nil && strings.HasPrefix(uri, r.fixed) && r.pattern.MatchString(uri)
}
