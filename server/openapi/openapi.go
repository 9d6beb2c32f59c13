// Package openapi makes declared tools of the operations of an OpenAPI document,
// 3.0 or 3.1.
//
// Each operation that is chosen becomes a definition of package httptool, and from
// there on is nothing else: its parameters are arguments, its body the argument
// body, and what the document says is typed and checked as a definition written by
// hand. A document says nothing about where its secrets are, refers to nothing
// outside of itself, and its hosts count only where none is configured.
package openapi

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/sangate/sangate/server/egress"
	"github.com/sangate/sangate/server/httptool"
)

// Bounds on a document.
const (
	MaxDocument = 32 << 20 // bytes
	maxTools    = 1000
	maxSchema   = 128 << 10 // bytes, of one tool's arguments
	maxText     = 4 << 10   // bytes, of a description
)

// Options say what is made of a document.
type Options struct {
	Prefix     string   // before the name of each tool
	Operations []string // operationIds, or globs over them
	Tags       []string
	BaseURL    string // in the place of the document's servers

	// As in httptool.Definition, for each tool.
	Credential   string
	CredentialID int64
	Errors       map[string]string
	Timeout      time.Duration
	MaxBytes     int64
}

// A Skipped operation was chosen, and could not be made a tool.
type Skipped struct{ Operation, Why string }

// Import makes definitions of the operations that are chosen, sorted by name. It
// is an error where none is.
func Import(document []byte, opts Options) (defs []httptool.Definition, skipped []Skipped, err error) {
	if len(document) > MaxDocument {
		return nil, nil, fmt.Errorf("the document is larger than %d bytes", MaxDocument)
	}
	if err := check(document); err != nil {
		return nil, nil, err
	}
	defer func() { // the libraries panic on some documents
		if p := recover(); p != nil {
			defs, skipped, err = nil, nil, fmt.Errorf("invalid OpenAPI document: %.200s", oneLine(fmt.Sprint(p)))
		}
	}()
	doc, err := openapi3.NewLoader().LoadFromData(document) // which follows no reference to elsewhere
	if err != nil {
		return nil, nil, fmt.Errorf("no OpenAPI document: %.500s", oneLine(err.Error()))
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.") || doc.Paths == nil {
		return nil, nil, errors.New("no OpenAPI document of version 3")
	}
	im := &importer{doc: doc, opts: opts, names: make(map[string]string)}
	for _, at := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
		item := doc.Paths.Map()[at]
		operations := item.Operations()
		for _, method := range slices.Sorted(maps.Keys(operations)) {
			im.operation(at, method, item, operations[method])
		}
	}
	if len(im.out) == 0 {
		return nil, im.skipped, fmt.Errorf("none of its operations is chosen by operations or tags%s", im.why())
	}
	if len(im.out) > maxTools {
		return nil, nil, fmt.Errorf("%d operations are chosen, at most %d can be", len(im.out), maxTools)
	}
	slices.SortFunc(im.out, func(a, b httptool.Definition) int { return cmp.Compare(a.Name, b.Name) })
	return im.out, im.skipped, nil
}

type importer struct {
	doc     *openapi3.T
	opts    Options
	names   map[string]string // of tools, by what they were made of
	out     []httptool.Definition
	skipped []Skipped
}

func (im *importer) why() string {
	if len(im.skipped) == 0 {
		return ""
	}
	return fmt.Sprintf("; %s was skipped: %s", im.skipped[0].Operation, im.skipped[0].Why)
}

func (im *importer) skip(id, format string, args ...any) {
	im.skipped = append(im.skipped, Skipped{id, fmt.Sprintf(format, args...)})
}

// chosen reports whether an operation is by its id or one of its tags.
func (im *importer) chosen(id string, op *openapi3.Operation) bool {
	for _, glob := range im.opts.Operations {
		if ok, err := path.Match(glob, id); ok && err == nil {
			return true
		}
	}
	return slices.ContainsFunc(op.Tags, func(tag string) bool { return slices.Contains(im.opts.Tags, tag) })
}

func (im *importer) operation(at, method string, item *openapi3.PathItem, op *openapi3.Operation) {
	id := op.OperationID
	if id == "" {
		id = strings.ToLower(method) + strings.NewReplacer("{", "", "}", "").Replace(at)
	}
	if !im.chosen(id, op) {
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
	if _, errs := httptool.Compile(def); len(errs) > 0 {
		im.skip(id, "%s", errs[0])
		return
	}
	im.names[def.Name] = id
	im.out = append(im.out, def)
}

// base is where the operation is: as configured, or at the first server that the
// document names for it.
func (im *importer) base(item *openapi3.PathItem, op *openapi3.Operation) (string, error) {
	if im.opts.BaseURL != "" {
		return strings.TrimSuffix(im.opts.BaseURL, "/"), nil
	}
	servers := im.doc.Servers
	if len(item.Servers) > 0 {
		servers = item.Servers
	}
	if op.Servers != nil && len(*op.Servers) > 0 {
		servers = *op.Servers
	}
	if len(servers) == 0 {
		return "", errors.New("the document names no server: set baseUrl")
	}
	base := servers[0].URL
	for name, v := range servers[0].Variables {
		base = strings.ReplaceAll(base, "{"+name+"}", v.Default)
	}
	if err := egress.CheckURL(base); err != nil || strings.ContainsAny(base, "{}?") {
		return "", fmt.Errorf("its server %s is no https URL: set baseUrl", egress.Named(base))
	}
	return strings.TrimSuffix(base, "/"), nil
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

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
