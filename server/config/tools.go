package config

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/sangate/sangate/pki/regularfile"
	"github.com/sangate/sangate/server/egress"
	"github.com/sangate/sangate/server/httptool"
	"github.com/sangate/sangate/server/openapi"
	"github.com/sangate/sangate/server/tool"
)

// A Toolbox is what the gate has of its own to offer; whose tenants see it is
// theirs to say.
type Toolbox struct {
	Builtin []string              `yaml:"builtin"` // those of the built-ins that there are; all where absent
	HTTP    []httptool.Definition `yaml:"http"`
	OpenAPI []OpenAPI             `yaml:"openapi"`
}

// Chosen returns those of the built-ins that there are.
func (t *Toolbox) Chosen(builtins []*tool.Tool) []*tool.Tool {
	return slices.DeleteFunc(slices.Clone(builtins), func(b *tool.Tool) bool { return t.Builtin != nil && !slices.Contains(t.Builtin, b.Name) })
}

// An OpenAPI document is many declared tools at once.
type OpenAPI struct {
	Name       string   `yaml:"name"`
	Document   Path     `yaml:"document"`   // file or URL; a bad one leaves out its tools, see package document
	Prefix     string   `yaml:"prefix"`     // before the name of each tool
	Operations []string `yaml:"operations"` // operationIds, or patterns of them
	Tags       []string `yaml:"tags"`
	BaseURL    string   `yaml:"baseUrl"` // in the place of the document's servers

	Credential   string            `yaml:"credential"`
	CredentialID int64             `yaml:"credentialId"`
	Errors       map[string]string `yaml:"errors"`
	Timeout      time.Duration     `yaml:"timeout"`
	MaxBytes     int64             `yaml:"maxResponseBytes"`
}

// Remote reports whether the document is fetched.
func (o *OpenAPI) Remote() bool { return strings.Contains(string(o.Document), "://") }

// Options say what is made of the document.
func (o *OpenAPI) Options() openapi.Options {
	from := ""
	if o.Remote() {
		from = string(o.Document)
	}
	return openapi.Options{From: from, Prefix: o.Prefix, Operations: o.Operations, Tags: o.Tags, BaseURL: o.BaseURL, Credential: o.Credential, CredentialID: o.CredentialID,
		Errors: o.Errors, Timeout: o.Timeout, MaxBytes: o.MaxBytes}
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
	d.checkOpenAPI(c, names)
}

func (d *decoder) checkOpenAPI(c *Config, names map[string]bool) {
	documents := make(map[string]bool)
	for i := range c.Tools.OpenAPI {
		o := &c.Tools.OpenAPI[i]
		at := fmt.Sprintf("tools.openapi[%d]", i)
		bad := func(key, format string, args ...any) { d.failAt(at+"."+key, key+": "+format, args...) }
		if !serverName.MatchString(o.Name) || documents[o.Name] {
			bad("name", "%q: a name of its own, of letters, digits, '.', '_' and '-'", o.Name)
		}
		documents[o.Name] = true
		for j, glob := range o.Operations {
			if _, err := path.Match(glob, ""); err != nil {
				d.failAt(fmt.Sprintf("%s.operations[%d]", at, j), "operations %q: write an operationId, or a pattern such as list*", glob)
			}
		}
		switch {
		case len(o.Operations) == 0 && len(o.Tags) == 0:
			bad("operations", "choose some by operations (ids or patterns) or tags; [\"*\"] is all")
			continue
		case o.BaseURL != "" && (egress.CheckURL(o.BaseURL) != nil || strings.ContainsAny(o.BaseURL, "{}?")):
			bad("baseUrl", "%s: write an https URL", egress.Named(o.BaseURL))
			continue
		case (o.Credential != "" || o.CredentialID != 0) && c.Credentials == nil:
			bad("credential", "say where credentials are: credentials: {kek: file:…}")
		case o.Credential != "" && o.CredentialID != 0:
			bad("credential", "stands beside credentialId: leave one of them out")
		}
		if o.Remote() {
			if err := egress.CheckURL(string(o.Document)); err != nil {
				bad("document", "%s", err)
			}
			continue
		}
		if d.documents {
			d.checkDocument(at, o, names)
		}
	}
}

// documentLimit bounds the check of one document.
const documentLimit = time.Minute

// checkDocument imports a document from a file.
func (d *decoder) checkDocument(at string, o *OpenAPI, names map[string]bool) {
	text, err := regularfile.Read(string(o.Document), openapi.MaxDocument)
	if err != nil {
		d.failAt(at+".document", "document: %s", plainError(err))
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), documentLimit)
	defer cancel()
	tools, _, err := openapi.Import(ctx, slog.New(slog.DiscardHandler), text, o.Options())
	if err != nil {
		d.failAt(at+".document", "document: %s: %s", string(o.Document), plainError(err))
	}
	for _, t := range tools {
		if names[t.Name()] {
			d.failAt(at+".prefix", "prefix: there are two tools %q: set a prefix", t.Name())
		}
		names[t.Name()] = true
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
