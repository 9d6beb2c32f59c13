package openapi

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Bounds on what a document holds. They are checked before the OpenAPI library reads
// it, because that takes no context and a stack overflow cannot be recovered. Together
// they keep an import below 256 MB.
const (
	maxDepth   = 200      // levels of nesting
	maxValues  = 500_000  // aliases expanded
	maxObjects = 50_000   // that the library reads
	maxChain   = 100      // references from one to the next
	maxNeeded  = 16 << 20 // bytes that it reads
	maxSteps   = 4 << 20  // of following references
)

// check refuses a document whose objects other than schemas refer to each other in a
// circle.
func check(root map[string]any) error {
	c := circles{root: root, state: make(map[string]int)}
	return c.walk(root, 0)
}

func objects(v any) (n int) {
	switch v := v.(type) {
	case []any:
		for _, of := range v {
			n += objects(of)
		}
	case map[string]any:
		n = 1
		for _, of := range v {
			n += objects(of)
		}
	}
	return n
}

// depth returns an upper bound for the levels of nesting of JSON or YAML.
func depth(data []byte) int {
	flow, deepest := 0, 0
	var indents []int
	var quote byte
	for line := range bytes.Lines(data) {
		rest := bytes.TrimLeft(line, " ")
		if quote == 0 && flow == 0 && len(bytes.TrimSpace(rest)) > 0 {
			indents = indented(indents, len(line)-len(rest))
			for entry := rest; len(entry) > 1 && (entry[0] == '-' || entry[0] == '?') && entry[1] == ' '; {
				entry = bytes.TrimLeft(entry[1:], " ")
				indents = indented(indents, len(line)-len(entry))
			}
		}
		for i := 0; i < len(line); i++ {
			switch b := line[i]; {
			case quote == '"' && b == '\\':
				i++
			case quote != 0:
				if b == quote {
					quote = 0
				}
			case b == '"' && flow > 0: // elsewhere a quote may be part of a text
				quote = b
			case b == '[' || b == '{':
				flow++
				deepest = max(deepest, flow+len(indents))
			case (b == ']' || b == '}') && flow > 0:
				flow--
			}
		}
		deepest = max(deepest, flow+len(indents))
	}
	return deepest
}

func indented(indents []int, column int) []int {
	for len(indents) > 0 && indents[len(indents)-1] >= column {
		indents = indents[:len(indents)-1]
	}
	return append(indents, column)
}

// circles walks a document along its references.
type circles struct {
	root  any
	steps int
	state map[string]int // of a reference: 1 while it is followed, 2 when done
}

func (c *circles) walk(v any, chain int) error {
	if c.steps++; c.steps > maxSteps {
		return errors.New("too many references to parts of each other")
	}
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if err := c.walk(item, chain); err != nil {
				return err
			}
		}
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			return c.follow(ref, chain+1)
		}
		for _, of := range v {
			if err := c.walk(of, chain); err != nil {
				return err
			}
		}
	}
	return nil
}

// follow goes along one reference. Schemas may refer to themselves, but not by
// references alone.
func (c *circles) follow(ref string, chain int) error {
	if strings.HasPrefix(ref, componentRef) && c.state[ref] != 0 {
		return c.chain(ref)
	}
	switch c.state[ref] {
	case 1:
		return fmt.Errorf("references in a circle: %.100q", ref)
	case 2:
		return nil
	}
	if chain > maxChain && !strings.HasPrefix(ref, componentRef) {
		return fmt.Errorf("more than %d references from one to the next", maxChain)
	}
	if err := c.chain(ref); err != nil {
		return err
	}
	c.state[ref] = 1
	defer func() { c.state[ref] = 2 }()
	target, err := c.lookup(ref)
	if err != nil {
		return nil // the library reports it
	}
	return c.walk(target, chain)
}

// chain refuses a reference that leads to references only.
func (c *circles) chain(ref string) error {
	for range maxChain {
		target, err := c.lookup(ref)
		if err != nil {
			return nil
		}
		m, _ := target.(map[string]any)
		next, ok := m["$ref"].(string)
		if !ok {
			return nil
		}
		ref = next
	}
	return fmt.Errorf("references in a circle: %.100q", ref)
}

func (c *circles) lookup(ref string) (any, error) {
	pointer, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil, errors.New("not in the document")
	}
	v := c.root
	for part := range strings.SplitSeq(pointer, "/") {
		switch in := v.(type) {
		case map[string]any:
			if v, ok = in[unescape.Replace(part)]; !ok {
				return nil, errors.New("not in the document")
			}
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(in) {
				return nil, errors.New("not in the document")
			}
			v = in[i]
		default:
			return nil, errors.New("not in the document")
		}
	}
	return v, nil
}
