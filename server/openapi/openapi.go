// Package openapi makes declared tools of the operations of an OpenAPI document,
// 3.0 or 3.1.
//
// Each operation that is chosen becomes a definition of package httptool, and is
// compiled like one that was written by hand: its parameters are arguments, its body
// the argument body. A document says nothing about where its secrets are, refers to nothing
// outside of itself, and its hosts count only where none is configured.
package openapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/sangate/sangate/pki/contain"
	"github.com/sangate/sangate/server/httptool"
)

// Bounds on a document.
const (
	MaxDocument = 32 << 20 // bytes
	maxTools    = 1000
	maxSchema   = 128 << 10 // bytes, of one tool's arguments
	maxText     = 4 << 10   // bytes, of a description or a pattern
	maxServer   = 4 << 10   // bytes, of a server's URL

	maxParameters = 256 // of one tool; each has an expression
)

// Options say what is made of a document.
type Options struct {
	Prefix     string   // before the name of each tool
	Operations []string // operationIds, or globs over them
	Tags       []string
	BaseURL    string // in the place of the document's servers
	From       string // URL that the document was fetched from; "": it is a file

	// As in httptool.Definition, for each tool.
	Credential   string
	CredentialID int64
	Errors       map[string]string
	Timeout      time.Duration
	MaxBytes     int64
}

// A Skipped operation was chosen, and could not be made a tool.
type Skipped struct{ Operation, Why string }

// Import compiles tools of the operations that are chosen, sorted by name. It is an
// error if there is none. Import looks at ctx between operations; the OpenAPI library
// takes no context, so that reading a document goes on within its bounds. A panic is
// logged to log and is an error.
func Import(ctx context.Context, log *slog.Logger, document []byte, opts Options) (tools []*httptool.Program, skipped []Skipped, err error) {
	err = contain.Do(log, "import an OpenAPI document", func() error {
		doc, err := load(document, opts)
		if err != nil {
			return err
		}
		im := &importer{doc: doc, opts: opts, names: make(map[string]string)}
		err = im.operations(ctx)
		tools, skipped = im.out, im.skipped
		return err
	})
	if err != nil {
		return nil, skipped, err
	}
	slices.SortFunc(tools, func(a, b *httptool.Program) int { return cmp.Compare(a.Name(), b.Name()) })
	return tools, skipped, nil
}

// load reads the parts of a document that are needed.
func load(document []byte, opts Options) (*openapi3.T, error) {
	root, err := read(document)
	if err != nil {
		return nil, err
	}
	if err := check(root); err != nil {
		return nil, err
	}
	root = prune(root, opts.chosen)
	if objects(root) > maxObjects {
		return nil, fmt.Errorf("the chosen operations need more than %d objects", maxObjects)
	}
	needed, err := json.Marshal(root)
	if err != nil {
		return nil, fmt.Errorf("no OpenAPI document: %.500s", oneLine(err.Error()))
	}
	if len(needed) > maxNeeded {
		return nil, fmt.Errorf("the chosen operations need more than %d bytes", maxNeeded)
	}
	// Not LoadFromData: what is no OpenAPI document it reads once more, as YAML, and compares all keys of an object.
	doc := new(openapi3.T)
	err = json.Unmarshal(needed, doc)
	if err == nil {
		err = openapi3.NewLoader().ResolveRefsIn(doc, nil) // which follows no reference to elsewhere
	}
	if err != nil {
		return nil, fmt.Errorf("no OpenAPI document: %.500s", oneLine(err.Error()))
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.") || doc.Paths == nil {
		return nil, errors.New("no OpenAPI document of version 3")
	}
	return doc, nil
}

type importer struct {
	doc     *openapi3.T
	opts    Options
	names   map[string]string // of tools, by what they were made of
	out     []*httptool.Program
	skipped []Skipped
}

func (im *importer) operations(ctx context.Context) error {
	paths := im.doc.Paths.Map()
	for _, at := range slices.Sorted(maps.Keys(paths)) {
		operations := paths[at].Operations()
		for _, method := range slices.Sorted(maps.Keys(operations)) {
			if err := ctx.Err(); err != nil {
				return err
			}
			im.operation(at, method, paths[at], operations[method])
			if len(im.out) > maxTools {
				return fmt.Errorf("more than %d operations are chosen", maxTools)
			}
		}
	}
	if len(im.out) == 0 {
		return fmt.Errorf("none of its operations is chosen by operations or tags%s", im.why())
	}
	return nil
}

func (im *importer) why() string {
	if len(im.skipped) == 0 {
		return ""
	}
	return fmt.Sprintf("; %s was skipped: %s", im.skipped[0].Operation, im.skipped[0].Why)
}

func (im *importer) skip(id, format string, args ...any) {
	im.skipped = append(im.skipped, Skipped{text(oneLine(id), 200), text(oneLine(fmt.Sprintf(format, args...)), 500)})
}

// chosen reports whether an operation is by its id or one of its tags.
func (o *Options) chosen(id string, tags []string) bool {
	for _, glob := range o.Operations {
		if ok, err := path.Match(glob, id); ok && err == nil {
			return true
		}
	}
	return slices.ContainsFunc(tags, func(tag string) bool { return slices.Contains(o.Tags, tag) })
}

func (im *importer) operation(at, method string, item *openapi3.PathItem, op *openapi3.Operation) {
	id := operationName(op.OperationID, method, at)
	if !im.opts.chosen(id, op.Tags) {
		return
	}
	def := httptool.Definition{Name: toolName(im.opts.Prefix + id), Title: text(op.Summary, 200), Description: describe(op, method, at), Credential: im.opts.Credential,
		CredentialID: im.opts.CredentialID, Errors: im.opts.Errors, Timeout: im.opts.Timeout, MaxBytes: im.opts.MaxBytes,
		Request: httptool.Request{Method: method, Headers: map[string]string{}, Query: map[string]string{}},
		// What is not JSON is told as the text it is.
		Response: `response.body != null ? response.body : dyn(response.text)`}
	if with, ok := im.names[def.Name]; ok {
		im.skip(id, "its name %s is that of %s, too", def.Name, with)
		return
	}
	if !strings.HasPrefix(at, "/") { // it would go on with the host
		im.skip(id, "its path does not begin with /")
		return
	}
	base, err := im.base(item, op)
	if err != nil {
		im.skip(id, "%s", err)
		return
	}
	a := newArguments(im.doc)
	if err := a.add(&def, at, item.Parameters, op.Parameters); err != nil {
		im.skip(id, "%s", err)
		return
	}
	def.Request.URL = base + a.path
	if err := a.body(&def, op.RequestBody); err != nil {
		im.skip(id, "%s", err)
		return
	}
	im.secret(&def, op)
	if def.Input, err = a.schema(); err != nil {
		im.skip(id, "%s", err)
		return
	}
	if len(def.Request.Query)+len(def.Request.Headers) > maxParameters {
		im.skip(id, "more than %d parameters", maxParameters)
		return
	}
	program, errs := httptool.Compile(def)
	if len(errs) > 0 {
		im.skip(id, "%s", errs[0])
		return
	}
	im.names[def.Name] = id
	im.out = append(im.out, program)
}

// secret has an API key that belongs into the query be put there. Everything else
// is put where the credential's type says.
func (im *importer) secret(def *httptool.Definition, op *openapi3.Operation) {
	if (def.Credential == "" && def.CredentialID == 0) || im.doc.Components == nil {
		return
	}
	needs := im.doc.Security
	if op.Security != nil {
		needs = *op.Security
	}
	for _, need := range needs {
		for name := range need {
			scheme := im.doc.Components.SecuritySchemes[name]
			if scheme != nil && scheme.Value != nil && scheme.Value.Type == "apiKey" && scheme.Value.In == "query" {
				def.Request.Query[scheme.Value.Name] = "secret"
			}
		}
	}
}

var strange = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// toolName has an id that may hold anything be a tool's name.
func toolName(id string) string {
	name := strings.Trim(strange.ReplaceAllString(id, "_"), "_")
	return name[:min(len(name), 128)]
}

func describe(op *openapi3.Operation, method, at string) string {
	parts := []string{op.Summary, op.Description}
	if op.Deprecated {
		parts = append(parts, "Deprecated.")
	}
	out := strings.TrimSpace(strings.Join(slices.DeleteFunc(parts, func(s string) bool { return strings.TrimSpace(s) == "" }), "\n"))
	return text(cmp.Or(out, method+" "+at), maxText)
}

// text cuts a text, between characters.
func text(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-3], "") + "…"
}

// oneLine has a blank for what breaks a line, and for other characters that control terminals.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
}
