package schema

import (
	"errors"
	"fmt"
)

// maxPaths bounds how many times a schema may apply subschemas to one value, over all
// chains of allOf, anyOf, oneOf, not, if, $ref and the like; maxChain bounds one chain.
const (
	maxPaths = 20_000
	maxChain = 200
)

// A pathCounter counts chains of subschemas on one value, each node once.
type pathCounter struct {
	paths, chain map[*node]int
	open         map[*node]bool
	scopes       []*scope
}

// countPaths refuses schemas that apply themselves to the same value without end, or
// so often that checking one value costs more than a budget of work.
func (k *converter) countPaths() error {
	c := &pathCounter{make(map[*node]int), make(map[*node]int), make(map[*node]bool), k.scopes}
	for _, n := range k.nodes {
		if err := c.count(n, 0); err != nil {
			return err
		}
	}
	return nil
}

func (c *pathCounter) count(n *node, level int) error {
	if c.paths[n] > 0 {
		return nil
	}
	if c.open[n] {
		return errors.New("a reference in a circle: the schema applies itself to the same value")
	}
	if level > maxChain {
		return fmt.Errorf("a chain of more than %d subschemas that apply to the same value", maxChain)
	}
	c.open[n] = true
	defer delete(c.open, n)
	paths, chain := 1, 1
	for _, m := range append(n.applied(), c.dynamic(n)...) {
		if err := c.count(m, level+1); err != nil {
			return err
		}
		paths += c.paths[m]
		chain = max(chain, 1+c.chain[m])
		if paths > maxPaths {
			return fmt.Errorf("more than %d paths through allOf, anyOf, oneOf and references to the same value", maxPaths)
		}
		if chain > maxChain {
			return fmt.Errorf("a chain of more than %d subschemas that apply to the same value", maxChain)
		}
	}
	c.paths[n], c.chain[n] = paths, chain
	return nil
}

// dynamic returns every schema that a dynamic reference of n may refer to.
func (c *pathCounter) dynamic(n *node) []*node {
	var out []*node
	for _, s := range c.scopes {
		if n.logic == nil {
			break
		}
		if m := s.anchors[n.logic.anchor]; m != nil {
			out = append(out, m)
		}
		if n.logic.recursive != nil && s.recursive {
			out = append(out, s.root)
		}
	}
	return out
}
