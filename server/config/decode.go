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
	"github.com/goccy/go-yaml/token"

	"github.com/sangate/sangate/pki/kms"
	"github.com/sangate/sangate/server/credential"
)

// A decoder fills structs from a YAML tree. Unlike the library's own it goes on
// after an error, and notes where every value stands, so that what is found
// wrong later can be told with its place too.
type decoder struct {
	file     string
	dir      string // relative paths are meant from here
	lookup   func(string) (string, bool)
	override bool             // file is a --set, without lines
	places   map[string]place // by path, such as tenants[0].sans[1]
	path     string           // of the value that is being decoded
	bad      map[string]bool  // paths whose value was refused already
	problems Problems
	secrets  []string // values of the environment from variables with the name of a secret
	redact   redactor
	marked   map[string]bool // paths whose value, or a value below, is interpolated
	fresh    map[int]bool    // problems with a marked value, by index
}

// A place is where a value stands; line and col are 0 where it is no file.
type place struct {
	file      string
	line, col int
}

func newDecoder(file, dir string) *decoder {
	return &decoder{file: file, dir: dir, lookup: environment,
		places: map[string]place{"": {file, 1, 1}}, bad: make(map[string]bool),
		marked: make(map[string]bool), fresh: make(map[int]bool)}
}

// at is where a node begins.
func (d *decoder) at(n ast.Node) place {
	if d.override || n == nil || n.GetToken() == nil {
		return place{file: d.file}
	}
	pos := start(n)
	return place{d.file, pos.Line, pos.Column}
}

func (d *decoder) report(at place, format string, args ...any) {
	d.problems = append(d.problems, Problem{File: at.file, Line: at.line, Col: at.col, Message: fmt.Sprintf(format, args...)})
}

// fail refuses the value that is being decoded.
func (d *decoder) fail(n ast.Node, format string, args ...any) {
	d.bad[d.path] = true
	d.fresh[len(d.problems)] = d.marked[d.path]
	d.report(d.at(n), format, args...)
}

// failAt reports a problem with the value at a path, or with the nearest one
// around it that stands in the file, unless that was refused already.
func (d *decoder) failAt(path, format string, args ...any) {
	d.fresh[len(d.problems)] = d.marked[path]
	for !d.bad[path] {
		if at, ok := d.places[path]; ok {
			d.report(at, format, args...)
			return
		}
		path = path[:max(strings.LastIndexByte(path, '.'), strings.LastIndexByte(path, '['), 0)]
	}
}

func (d *decoder) decode(n ast.Node, v reflect.Value, path string) {
	d.path = path
	if _, known := d.places[path]; !known || !isMapping(n) { // an override adds to a mapping
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

// start is where a value begins: the token of a block mapping is its first
// colon.
func start(n ast.Node) *token.Position {
	switch m := n.(type) {
	case *ast.MappingNode:
		if len(m.Values) > 0 {
			return m.Values[0].Key.GetToken().Position
		}
	case *ast.MappingValueNode:
		return m.Key.GetToken().Position
	}
	return n.GetToken().Position
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
			d.report(d.at(kv.Key), "unknown key %q%s", name, suggestion(v.Type(), name))
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
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, item := range seq.Values {
		setDefaults(out.Index(i))
		d.decode(item, out.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	v.Set(out)
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
		if name := ref[2 : len(ref)-1]; value != "" && credential.SecretName(name) && !slices.Contains(d.secrets, value) {
			d.secrets = append(d.secrets, value)
		}
		d.redact.add(ref[2:len(ref)-1], value)
		d.mark(d.path)
		return value
	})
	return s, ok
}

// mark notes that the value at path holds an interpolated one, and so do those around it.
func (d *decoder) mark(path string) {
	for path != "" && !d.marked[path] {
		d.marked[path] = true
		path = path[:max(strings.LastIndexByte(path, '.'), strings.LastIndexByte(path, '['), 0)]
	}
}

// redacted returns the problems in order, without interpolated values.
func (d *decoder) redacted() Problems {
	for i := range d.problems {
		p := &d.problems[i]
		if p.Message = d.redact.whole(p.Message); d.fresh[i] {
			p.Message = d.redact.fragments(p.Message)
		}
	}
	return d.problems.sorted()
}

var environment = os.LookupEnv
