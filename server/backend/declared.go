package backend

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/document"
	"github.com/sangate/sangate/server/egress"
	"github.com/sangate/sangate/server/httptool"
	"github.com/sangate/sangate/server/intake"
	"github.com/sangate/sangate/server/tool"
)

// A Document says how an OpenAPI document is, to an operator.
type Document struct {
	Name, Where string
	Problem     string    // why the last import failed; the tools are those of the copy before
	Tools       []string  // that it has in force
	LeftOut     []LeftOut // the first operations that are not tools
	Missing     int       // how many are not
}

// A LeftOut is an operation that was chosen and is not a tool.
type LeftOut struct{ Name, Why string }

// maxLeft bounds how many of those left out are shown.
const maxLeft = 100

// declare makes the tools that the configuration declares, and those of documents.
// It waits for documents that are new, or have other options, until wait is over.
func (p *Plan) declare(ctx context.Context, wait time.Duration) error {
	p.toolOptions = httptool.Options{Client: p.client(egress.Target{HTTP2: true}), Resolver: p.resolver,
		Authorizer: p.authorizer, Scrubber: p.scrubber()}
	var err error
	if p.declared, err = httptool.Tools(p.conf.Tools.HTTP, p.toolOptions); err != nil {
		return err
	}
	p.documents = p.backend.library.Prepare(document.Source{Documents: p.conf.Tools.OpenAPI,
		State: string(p.conf.State), Guard: p.guard, Hide: p.hide, Show: p.conf.RedactText})
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	p.documents.Import(ctx)
	p.offers = newOffers(p)
	p.offers.of(p.documents.Results(), nil)
	return nil
}

// hide removes secrets and values of the environment from an error.
func (p *Plan) hide(err error) error {
	if err == nil {
		return nil
	}
	return p.conf.Redact(p.scrubber().Error(err))
}

// scrubber returns one that knows the secrets of the configuration and of proxies.
func (p *Plan) scrubber() *credential.Scrubber {
	return credential.NewScrubber(slices.Concat(p.conf.Secrets, p.guard.Secrets())...)
}

// offers makes the tools of documents under one plan, each once.
type offers struct {
	plan    *Plan
	tools   map[*httptool.Program]*tool.Tool
	answers map[string]*intake.Source // of the tools of each document
}

func newOffers(p *Plan) *offers {
	return &offers{plan: p, tools: make(map[*httptool.Program]*tool.Tool), answers: make(map[string]*intake.Source)}
}

// answersOf returns what bounds the answers to the tools of a document, which outlives an import.
func (o *offers) answersOf(document string) *intake.Source {
	if o.answers[document] == nil {
		o.answers[document] = new(intake.Source)
	}
	return o.answers[document]
}

// DocumentSource is the source of the offer of an OpenAPI document.
func DocumentSource(name string) string { return "OpenAPI document " + name }

// holders returns which document has each name, given which had it before: that one
// keeps it for as long as it has it, or was not read again yet.
func holders(results []*document.Result, before map[string]string) map[string]string {
	has := make(map[string]map[string]bool, len(results))
	for _, r := range results {
		has[r.Name] = make(map[string]bool, len(r.Tools))
		for _, program := range r.Tools {
			has[r.Name][program.Name()] = true
		}
	}
	held := make(map[string]string, len(before))
	for name, document := range before {
		if names, configured := has[document]; configured && (len(names) == 0 || names[name]) {
			held[name] = document
		}
	}
	return held
}

// keep notes which document has each name from now on.
func keep(held map[string]string, states []Document) {
	for _, d := range states {
		for _, name := range d.Tools {
			held[name] = d.Name
		}
	}
}

// of returns the tools of documents, and how each document is. A tool whose name has
// another one of the configuration, or one of the document that held has for it, is
// left out.
func (o *offers) of(results []*document.Result, held map[string]string) ([]*tool.Offer, []Document) {
	taken := make(map[string]bool)
	for _, t := range slices.Concat(o.plan.declared, o.plan.conf.Tools.Chosen(builtins())) {
		taken[t.Name] = true
	}
	all, states, used := make([]*tool.Offer, len(results)), make([]Document, len(results)), make(map[*httptool.Program]*tool.Tool)
	for i, r := range results {
		offer, state := &tool.Offer{Source: DocumentSource(r.Name)}, &states[i]
		all[i] = offer
		state.Name, state.Where, state.Problem = r.Name, r.Where, r.Problem
		for _, s := range r.Skipped {
			state.leave(s.Operation, s.Why)
		}
		options := o.plan.toolOptions
		options.Answers = o.answersOf(r.Name)
		for _, program := range r.Tools {
			if holder, ok := held[program.Name()]; taken[program.Name()] || ok && holder != r.Name {
				state.leave(program.Name(), "another tool has this name; set a prefix")
				continue
			}
			t := o.tools[program]
			if t == nil {
				var err error
				if t, err = program.Tool(options); err != nil {
					state.leave(program.Name(), err.Error())
					continue
				}
			}
			used[program], taken[t.Name] = t, true
			offer.Tools = append(offer.Tools, t)
			state.Tools = append(state.Tools, t.Name)
		}
	}
	o.tools = used
	return all, states
}

func builtins() []*tool.Tool {
	out := make([]*tool.Tool, len(tool.BuiltinNames))
	for i, name := range tool.BuiltinNames {
		out[i] = &tool.Tool{Name: name}
	}
	return out
}

func (d *Document) leave(name, why string) {
	if d.Missing++; len(d.LeftOut) < maxLeft {
		d.LeftOut = append(d.LeftOut, LeftOut{name, why})
	}
}

// remake puts the tools of documents in force as they are now.
func (b *Backend) remake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	results := b.library.Results()
	b.held = holders(results, b.held)
	offers, states := b.cur.Load().offers.of(results, b.held)
	keep(b.held, states)
	b.offered.Store(&documents{offers, states})
}

// documents are what documents offer, and how each is.
type documents struct {
	offers []*tool.Offer // one of each
	states []Document
}

// Documents tells how each OpenAPI document is, in the order of the configuration.
func (b *Backend) Documents() []Document {
	states := slices.Clone(b.offered.Load().states)
	results := b.library.Results()
	for i := range states {
		if i < len(results) && results[i].Name == states[i].Name { // tools change less often
			states[i].Problem = results[i].Problem
		}
	}
	return states
}

// Imported reports whether the last import of each OpenAPI document succeeded.
func (b *Backend) Imported() iter.Seq2[string, bool] {
	return func(yield func(string, bool) bool) {
		for _, d := range b.Documents() {
			if !yield(d.Name, d.Problem == "") {
				return
			}
		}
	}
}

// OfDocument reports whether a tool of that name is made of an OpenAPI document.
func (b *Backend) OfDocument(name string) bool {
	return slices.ContainsFunc(b.offered.Load().states, func(d Document) bool { return slices.Contains(d.Tools, name) })
}

// DocumentPaths returns the files of OpenAPI documents.
func (b *Backend) DocumentPaths() []string { return b.library.Paths() }

// WakeDocuments has RunDocuments read all OpenAPI documents again.
func (b *Backend) WakeDocuments() { b.library.Wake() }

// RunDocuments keeps OpenAPI documents current until ctx ends.
func (b *Backend) RunDocuments(ctx context.Context) { b.library.Run(ctx) }
