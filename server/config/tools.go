package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/sangate/sangate/server/httptool"
	"github.com/sangate/sangate/server/tool"
)

// A Toolbox is what the gate has of its own to offer; whose tenants see it is
// theirs to say.
type Toolbox struct {
	Builtin []string              `yaml:"builtin"` // those of the built-ins that there are; all where absent
	HTTP    []httptool.Definition `yaml:"http"`
}

func (d *decoder) checkTools(c *Config) {
	for i, name := range c.Tools.Builtin {
		if !slices.Contains(tool.BuiltinNames, name) {
			d.failAt(fmt.Sprintf("tools.builtin[%d]", i), "no built-in tool %q; there are %s", name, strings.Join(tool.BuiltinNames, ", "))
		}
	}
	names := make(map[string]bool)
	for _, name := range tool.BuiltinNames {
		names[name] = c.Tools.Builtin == nil || slices.Contains(c.Tools.Builtin, name)
	}
	for i, def := range c.Tools.HTTP {
		at := fmt.Sprintf("tools.http[%d]", i)
		_, errs := httptool.Compile(def)
		for _, err := range errs {
			d.failAt(at+"."+err.Path, "%s: %s", err.Path, plainError(err.Err))
		}
		if names[def.Name] {
			d.failAt(at+".name", "name: there are two tools %q", def.Name)
		}
		names[def.Name] = true
		if (def.Credential != "" || def.CredentialID != 0) && c.Credentials == nil {
			d.failAt(at+".credential", "credential: say where credentials are: credentials: {kek: file:…}")
		}
	}
}

// json takes a value as it stands, as JSON. Nothing is replaced in it.
func (d *decoder) json(n ast.Node, v reflect.Value) {
	out, ok := d.toJSON(nil, n)
	if ok {
		v.SetBytes(out)
	}
}

func (d *decoder) toJSON(out []byte, n ast.Node) ([]byte, bool) {
	ok := true
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		values, _ := pairs(n)
		out = append(out, '{')
		seen := make(map[string]bool)
		for i, kv := range values {
			name := kv.Key.GetToken().Value
			if seen[name] {
				d.fail(kv.Key, "%q stands here twice", name)
				return out, false
			}
			seen[name] = true
			if i > 0 {
				out = append(out, ',')
			}
			out = append(appendString(out, name), ':')
			if out, ok = d.toJSON(out, kv.Value); !ok {
				return out, false
			}
		}
		return append(out, '}'), true
	case *ast.SequenceNode:
		out = append(out, '[')
		for i, item := range n.Values {
			if i > 0 {
				out = append(out, ',')
			}
			if out, ok = d.toJSON(out, item); !ok {
				return out, false
			}
		}
		return append(out, ']'), true
	case *ast.NullNode:
		return append(out, "null"...), true
	case *ast.BoolNode:
		return strconv.AppendBool(out, n.Value), true
	case *ast.IntegerNode:
		return fmt.Append(out, n.Value), true
	case *ast.FloatNode:
		return strconv.AppendFloat(out, n.Value, 'g', -1, 64), true
	case *ast.LiteralNode:
		return appendString(out, n.Value.Value), true
	case *ast.StringNode:
		return appendString(out, n.Value), true
	}
	d.fail(n, "expected what JSON can say")
	return out, false
}

func appendString(out []byte, s string) []byte {
	text, _ := json.Marshal(s) // a string always encodes
	return append(out, text...)
}
