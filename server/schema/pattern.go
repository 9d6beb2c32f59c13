package schema

import (
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Limits of the regular expressions of one schema.
const (
	maxPatterns     = 500
	maxPatternBytes = 8 << 10 // of one
	maxInstructions = 100_000 // of all together, as compiled
	maxFormatRegex  = 1 << 10 // bytes of an instance that "format": "regex" looks at
)

// A pattern is a regular expression with the number of its instructions, which times
// the length of a text bounds the time to match it.
type pattern struct {
	*regexp.Regexp
	instructions int
}

// patterns compiles those of one schema, each text once.
type patterns struct {
	known        map[string]*pattern
	instructions int
}

func newPatterns() *patterns { return &patterns{known: make(map[string]*pattern)} }

func (p *patterns) compile(text string) (jsonschema.Regexp, error) {
	if re := p.known[text]; re != nil {
		return re, nil
	}
	switch {
	case len(text) > maxPatternBytes:
		return nil, fmt.Errorf("a pattern of %d bytes; at most %d are allowed", len(text), maxPatternBytes)
	case len(p.known) == maxPatterns:
		return nil, fmt.Errorf("more than %d patterns", maxPatterns)
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	n := instructions(parsed)
	p.instructions += n
	if p.instructions > maxInstructions {
		return nil, fmt.Errorf("patterns that repeat too much: more than %d instructions", maxInstructions)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	p.known[text] = &pattern{re, n}
	return p.known[text], nil
}

// instructions returns an upper bound on the size of the program that an expression
// compiles to, without compiling it.
func instructions(re *syntax.Regexp) int {
	n := 2
	if re.Op == syntax.OpLiteral {
		n += len(re.Rune)
	}
	if re.Op == syntax.OpCharClass {
		n += len(re.Rune) / 16
	}
	for _, sub := range re.Sub {
		n = min(n+instructions(sub), 2*maxInstructions)
	}
	if re.Op == syntax.OpRepeat {
		n = min(n*max(re.Min, re.Max, 1), 2*maxInstructions)
	}
	return n
}
