package schema

import (
	"math/big"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A node is one subschema. Keywords that most schemas lack are behind pointers.
type node struct {
	draft  int
	always *bool // a boolean schema
	types  *types
	enum   *enum
	format *jsonschema.Format
	ref    *node
	scope  *scope // the resource it belongs to; nil unless the schema has dynamic references
	logic  *logic
	object *objectRules
	array  *arrayRules
	text   *textRules
	number *numberRules
}

type types struct {
	kinds kinds
	names []string
}

// An enum is the values of enum or const.
type enum struct {
	kinds kinds
	keys  map[string]bool // canonical
	want  []any
	konst bool
}

// logic is the keywords that apply other schemas to the same value, and those that
// depend on what they have seen.
type logic struct {
	allOf, anyOf, oneOf   []*node
	not, cond, then, els  *node
	recursive             *node
	dynamic               *node
	anchor                string // of dynamic
	unevaluatedProperties *node
	unevaluatedItems      *node
}

type objectRules struct {
	min, max          *int
	required          []string
	properties        map[string]*node
	patterns          []patternRule
	additional        *node
	closed            bool // additionalProperties: false
	evaluatesAll      bool
	names             *node
	dependencies      map[string]*node
	dependentSchemas  map[string]*node
	dependentRequired map[string][]string
	required4         map[string][]string // dependencies of older drafts that are lists
}

type patternRule struct {
	*pattern
	node *node
}

type arrayRules struct {
	min, max                 *int
	unique                   bool
	prefix                   []*node
	rest                     *node
	closed                   bool // additionalItems: false
	contains                 *node
	minContains, maxContains *int
	evaluatesAll             bool
}

type textRules struct {
	min, max *int
	pattern  *pattern
}

type numberRules struct {
	min, max, above, below, multiple *big.Rat
}

// A scope is a resource of the schema, for dynamic references.
type scope struct {
	location  string
	root      *node
	recursive bool // $recursiveAnchor
	anchors   map[string]*node
}

// applied returns the schemas that n applies to the same value.
func (n *node) applied() []*node {
	var out []*node
	add := func(nodes ...*node) {
		for _, m := range nodes {
			if m != nil {
				out = append(out, m)
			}
		}
	}
	add(n.ref)
	if l := n.logic; l != nil {
		add(l.allOf...)
		add(l.anyOf...)
		add(l.oneOf...)
		add(l.not, l.cond, l.then, l.els, l.recursive, l.dynamic)
	}
	if o := n.object; o != nil {
		for _, m := range o.dependencies {
			add(m)
		}
		for _, m := range o.dependentSchemas {
			add(m)
		}
	}
	return out
}
