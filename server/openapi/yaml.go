package openapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/oasdiff/yaml3"
)

// decodeYAML reads YAML. The library parses it into nodes, and this file makes values of them: the library compares
// each key of an object with each other one, and keeps a line for each two that are the same.
func decodeYAML(document []byte) (any, error) {
	switch {
	case bytes.HasPrefix(document, []byte("\xff\xfe")), bytes.HasPrefix(document, []byte("\xfe\xff")):
		return nil, errors.New("it is UTF-16: write it in UTF-8") // its values are not counted
	case directives(document) > maxDirectives:
		return nil, fmt.Errorf("more than %d lines begin with %%", maxDirectives)
	}
	d := yaml.NewDecoder(bytes.NewReader(document))
	d.DisableTimestamps(true)
	var root yaml.Node
	if err := d.Decode(&root); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	n := nodes{made: make(map[*yaml.Node]any), open: make(map[*yaml.Node]bool)}
	return n.value(&root)
}

// maxDirectives bounds the lines that begin with %, as the directive %TAG: the library compares each with each.
const maxDirectives = 100

func directives(document []byte) (n int) {
	for i, b := range document {
		if b != '%' || i == 0 {
			continue
		}
		switch document[i-1] {
		case '\n', '\r', nextLine, lineSeparator, paragraphSeparator:
			n++
		}
	}
	return n
}

// nodes makes values of nodes. What has an anchor is made once, and aliases share it.
type nodes struct {
	made   map[*yaml.Node]any
	open   map[*yaml.Node]bool // anchored, being made
	merged int                 // members taken in by << so far
}

func (n *nodes) value(of *yaml.Node) (v any, err error) {
	if of.Kind == yaml.AliasNode {
		of = of.Alias
	}
	if of.Anchor != "" {
		if v, ok := n.made[of]; ok {
			return v, nil
		}
		if n.open[of] {
			return nil, fmt.Errorf("line %d: anchor %.100q contains itself", of.Line, of.Anchor)
		}
		n.open[of] = true
		defer func() { n.made[of] = v }()
	}
	switch of.Kind {
	case yaml.DocumentNode:
		return n.value(of.Content[0])
	case yaml.SequenceNode:
		list := make([]any, len(of.Content))
		for i, item := range of.Content {
			if list[i], err = n.value(item); err != nil {
				return nil, err
			}
		}
		return list, nil
	case yaml.MappingNode:
		return n.object(of)
	}
	return scalar(of)
}

const (
	textTag  = "!!str"
	timeTag  = "!!timestamp"
	mergeTag = "!!merge"
)

func scalar(of *yaml.Node) (v any, err error) {
	switch of.ShortTag() {
	case textTag, timeTag:
		return of.Value, nil
	}
	err = of.Decode(&v)
	return v, err
}

func (n *nodes) object(of *yaml.Node) (any, error) {
	out := make(map[string]any, len(of.Content)/2)
	var merge *yaml.Node
	for i := 0; i+1 < len(of.Content); i += 2 {
		key, value := of.Content[i], of.Content[i+1]
		if key.Kind == yaml.ScalarNode && key.ShortTag() == mergeTag {
			if merge != nil {
				return nil, fmt.Errorf("line %d: a second <<", key.Line)
			}
			merge = value
			continue
		}
		k, err := n.value(key)
		if err != nil {
			return nil, err
		}
		name, ok := keyText(k)
		if !ok {
			return nil, fmt.Errorf("line %d: a key that is no text", key.Line)
		}
		if _, ok := out[name]; ok {
			return nil, fmt.Errorf("line %d: the key %.100q stands here twice", key.Line, name)
		}
		if out[name], err = n.value(value); err != nil {
			return nil, err
		}
	}
	if merge == nil {
		return out, nil
	}
	return out, n.merge(out, merge)
}

// merge takes in the members of one object or of a list of them, the first of a name.
func (n *nodes) merge(out map[string]any, from *yaml.Node) error {
	objects := []*yaml.Node{from}
	if from.Kind == yaml.SequenceNode {
		objects = from.Content
	}
	for _, of := range objects {
		v, err := n.value(of)
		if err != nil {
			return err
		}
		members, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("line %d: << takes in objects only", of.Line)
		}
		if n.merged += 1 + len(members); n.merged > maxValues {
			return fmt.Errorf("more than %d values are taken in by <<", maxValues)
		}
		for name, v := range members {
			if _, ok := out[name]; !ok {
				out[name] = v
			}
		}
	}
	return nil
}

func keyText(key any) (string, bool) {
	switch key := key.(type) {
	case string:
		return key, true
	case bool:
		return strconv.FormatBool(key), true
	case int, int64, uint64:
		return fmt.Sprint(key), true
	case float64:
		return strconv.FormatFloat(key, 'g', -1, 64), true
	}
	return "", false
}
