package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/sangate/sangate/pki/kms"
)

// A decoder fills structs from a YAML tree. Unlike the library's own it goes on
// after an error, and notes where every value stands, so that what is found
// wrong later can be told with its place too.
type decoder struct {
	file      string
	dir       string // relative paths are meant from here
	lookup    func(string) (string, bool)
	override  bool             // file is a --set, without lines
	places    map[string]place // by path, such as tenants[0].sans[1]
	path      string           // of the value that is being decoded
	bad       map[string]bool  // paths whose value was refused already
	problems  Problems
	redact    redactor
	marked    map[string]bool // paths whose value, or a value below, is interpolated
	fresh     map[int]bool    // problems with a marked value, by index
	documents bool            // OpenAPI documents are checked, too

	stopped bool           // nothing more is read
	target  int            // bytes of a piece
	piece   piece          // that is decoded
	lines   map[string]int // lines of the keys of mappings that pieces can be cut in
}

func newDecoder(file, dir string) *decoder {
	return &decoder{file: file, dir: dir, lookup: environment,
		places: map[string]place{"": {file, 1, 1}}, bad: make(map[string]bool),
		marked: make(map[string]bool), fresh: make(map[int]bool), lines: make(map[string]int),
		piece: piece{first: 1}, target: pieceTarget}
}

func (d *decoder) decode(n ast.Node, v reflect.Value, path string) {
	d.path = path
	if _, known := d.places[path]; !known || !isMapping(n) && !d.continues(path) { // an override adds to a mapping
		d.places[path] = d.at(n)
	}
	switch n := n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.fail(n, "anchors, aliases and tags are not taken; write the value out")
		return
	case *ast.NullNode:
		return // as if the key were not there
	}
	switch v.Interface().(type) {
	case time.Duration:
		d.scalar(n, v, func(s string) (any, error) { return time.ParseDuration(s) }, "a duration such as 5s")
		return
	case json.RawMessage:
		d.json(n, v)
		return
	case time.Time:
		d.scalar(n, v, func(s string) (any, error) { return time.Parse(time.RFC3339, s) }, "a time such as 2027-01-01T00:00:00Z")
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() { // else an override adds to it
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.decode(n, v.Elem(), path)
	case reflect.Struct:
		d.mapping(n, v, path)
	case reflect.Slice:
		d.sequence(n, v, path)
	case reflect.Map:
		d.texts(n, v, path)
	case reflect.String:
		d.text(n, v)
	case reflect.Bool:
		d.scalar(n, v, func(s string) (any, error) { return strconv.ParseBool(s) }, "true or false")
	case reflect.Int, reflect.Int64:
		d.scalar(n, v, func(s string) (any, error) { return strconv.ParseInt(s, 10, 64) }, "a whole number")
	case reflect.Float64:
		d.scalar(n, v, func(s string) (any, error) { return strconv.ParseFloat(s, 64) }, "a number")
	case reflect.Uint32:
		d.scalar(n, v, func(s string) (any, error) { return strconv.ParseUint(s, 10, 32) }, "a whole number")
	default:
		panic("config: no way to decode a " + v.Type().String())
	}
}

func isMapping(n ast.Node) bool {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	}
	return false
}

func (d *decoder) mapping(n ast.Node, v reflect.Value, path string) {
	values, ok := pairs(n)
	if !ok {
		d.fail(n, "%s: expected keys and values", cmpPath(path))
		return
	}
	for _, kv := range values {
		name := kv.Key.GetToken().Value
		field, ok := fieldOf(v, name)
		if !ok {
			if d.full() {
				return
			}
			d.report(d.at(kv.Key), "unknown key %q%s", name, suggestion(v.Type(), name))
			continue
		}
		if d.repeated(kv.Key, join(path, name)) {
			continue
		}
		d.decode(kv.Value, field, join(path, name))
	}
}

// texts fills a map of texts by names of the file's choice.
func (d *decoder) texts(n ast.Node, v reflect.Value, path string) {
	values, ok := pairs(n)
	if !ok {
		d.fail(n, "%s: expected keys and values", cmpPath(path))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, kv := range values {
		name := kv.Key.GetToken().Value
		value := reflect.New(v.Type().Elem()).Elem()
		d.decode(kv.Value, value, join(path, name))
		v.SetMapIndex(reflect.ValueOf(name), value)
	}
}

// pairs returns the keys and values of a mapping.
func pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	}
	return nil, false
}

func (d *decoder) sequence(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fail(n, "%s: expected a list", cmpPath(path))
		return
	}
	base := 0
	if d.continues(path) {
		base = v.Len()
	} else {
		v.Set(reflect.MakeSlice(v.Type(), 0, len(seq.Values)))
	}
	if base+len(seq.Values) > maxItems {
		d.fail(n, "%s: more than %d entries", path, maxItems)
		d.stopped = true
		return
	}
	v.Grow(len(seq.Values))
	v.SetLen(base + len(seq.Values))
	for i, item := range seq.Values {
		to := v.Index(base + i)
		setDefaults(to)
		d.decode(item, to, fmt.Sprintf("%s[%d]", path, base+i))
	}
}

// continues reports whether an earlier piece began the value at path.
func (d *decoder) continues(path string) bool {
	return slices.ContainsFunc(d.piece.openers, func(o opener) bool { return o.path == path })
}

// repeated reports a key that an earlier piece holds. Within one piece the parser does.
func (d *decoder) repeated(key ast.Node, path string) bool {
	if d.override || strings.Contains(path, "[") || d.continues(path) {
		return false
	}
	if line, found := d.lines[path]; found && line < d.piece.first {
		d.report(d.at(key), "mapping key %q already defined on line %d", key.GetToken().Value, line)
		return true
	}
	d.lines[path] = d.at(key).line
	return false
}

// setDefaults fills the fields of a list's struct that carry a default tag.
func setDefaults(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("default") == "true" {
			v.Field(i).SetBool(true)
		}
	}
}

func (d *decoder) scalar(n ast.Node, v reflect.Value, parse func(string) (any, error), want string) {
	s, ok := d.scalarText(n)
	if !ok {
		return
	}
	value, err := parse(s)
	if err != nil {
		d.fail(n, "%q is not %s", s, want)
		return
	}
	if rv := reflect.ValueOf(value); rv.CanConvert(v.Type()) {
		v.Set(rv.Convert(v.Type()))
	}
}

func (d *decoder) text(n ast.Node, v reflect.Value) {
	s, ok := d.scalarText(n)
	if !ok {
		return
	}
	if v.Type() == reflect.TypeFor[Path]() && s != "" && s != "-" && !filepath.IsAbs(s) && !strings.Contains(s, "://") && !kms.IsURI(s) {
		s = filepath.Join(d.dir, s)
	}
	v.SetString(s)
}

var reference = regexp.MustCompile(`\$\$|\$\{[^}]*\}`)

// scalarText returns the text of a scalar with ${NAME} replaced from the
// environment; $$ stands for one $.
func (d *decoder) scalarText(n ast.Node) (string, bool) {
	var s string
	switch t := n.(type) {
	case *ast.LiteralNode:
		s = t.Value.Value
	case ast.ScalarNode:
		s = t.GetToken().Value
	default:
		d.fail(n, "expected a single value")
		return "", false
	}
	ok := true
	s = reference.ReplaceAllStringFunc(s, func(ref string) string {
		if ref == "$$" {
			return "$"
		}
		value, found := d.lookup(ref[2 : len(ref)-1])
		if !found {
			d.fail(n, "environment variable %s is not set", ref[2:len(ref)-1])
			ok = false
		}
		d.redact.add(ref[2:len(ref)-1], value)
		d.mark(d.path)
		return value
	})
	return s, ok
}

var environment = os.LookupEnv
