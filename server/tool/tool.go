// Package tool holds what a tenant can call, whatever stands behind it and
// whichever dialect asks.
//
// A [Tool] is a name, two JSON Schemas and a handler. Arguments are checked
// against the input schema before a handler sees them. A [Catalog] is an
// immutable set of tools; a [View] of it is what one tenant may see, and what
// is not in the view does not exist for that tenant.
package tool

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sangate/sangate/server/accepted"
	"github.com/sangate/sangate/server/intake"
	"github.com/sangate/sangate/server/schema"
	"github.com/sangate/sangate/server/turns"
)

// ValidName is what a tool may be called (contract, section 2).
var ValidName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)

// A Tool can be called with JSON arguments. Not to be changed after [New] or
// [Tool.Compile].
type Tool struct {
	Name         string
	Title        string
	Description  string
	InputSchema  json.RawMessage // JSON Schema 2020-12 of type object
	OutputSchema json.RawMessage // the same, or nil
	ReadOnly     bool            // changes nothing: MCP's readOnlyHint
	Annotations  json.RawMessage // MCP's, as its upstream has them, in the place of ReadOnly; or nil
	Builtin      bool            // seen by tenants without a tool policy
	Owner        string          // the tenant that alone may see it; "": any
	Upstream     string          // that it is of, or ""
	Unavailable  bool            // what stands behind it cannot be reached now
	Asks         bool            // its results may have Asks, or it looks at what the client can do
	Logs         bool            // it uses Log, which clients of older revisions need not ask for
	Handler      Handler

	input, output *schema.Schema
}

// A Handler does the work. Its error is told to the caller where it is made by
// [Errorf], is [*InvalidArguments], or is a context's; of an [*UpstreamError] the
// caller is told the kind; any other is logged and answered in general words.
type Handler func(ctx context.Context, call *Call) (*Result, error)

// A Call is one use of a tool by an admitted caller.
type Call struct {
	Caller    Caller
	Arguments json.RawMessage // valid under the input schema; never nil

	// Progress passes on how far the tool is, where the caller asked to be
	// told; nil where not. total is 0 where nobody knows.
	Progress func(done, total float64, message string)

	// Log passes on a message for the caller's log, where it asked for those of
	// that level or a worse one; nil where not. Levels are those of RFC 5424,
	// such as info; data encodes to JSON.
	Log func(level string, data any)

	// Of a caller that can be asked for more, where Tool.Asks says so:
	Capabilities []string                   // what its client declares that it can do
	Answers      map[string]json.RawMessage // to Result.Asks of the call before, by name
	State        string                     // of that Result; nobody has changed it
}

type callKey struct{}

// CallerFrom returns who calls, in the context of a handler. It panics outside
// of one.
func CallerFrom(ctx context.Context) Caller { return ctx.Value(callKey{}).(*Call).Caller }

// Progress tells the caller how far the tool is, where the dialect can and the
// caller asked for it; done must grow, and total is 0 where nobody knows. It
// panics outside of a handler.
func Progress(ctx context.Context, done, total float64, message string) {
	if report := ctx.Value(callKey{}).(*Call).Progress; report != nil {
		report(done, total, message)
	}
}

// Log passes a message on for the caller's log, where the dialect can and the
// caller asked for messages of that level (RFC 5424, such as "info") or of a better
// one. data encodes to JSON. It panics outside of a handler.
func Log(ctx context.Context, level string, data any) {
	if log := ctx.Value(callKey{}).(*Call).Log; log != nil {
		log(level, data)
	}
}

// A Caller is who calls, as the gate found out.
type Caller struct {
	Tenant   string
	Identity string // the certificate's name, such as a SPIFFE ID
	Serial   string // of the certificate, hexadecimal
	NotAfter time.Time
	Factors  []string          // those that were checked: certificate, key, …
	Vars     map[string]string // of the tenant, as configured
}

// A Result is what a tool answers. Structured is a JSON value; Content is a JSON
// array of MCP content blocks. At least one of them is set, or else Asks.
type Result struct {
	Structured json.RawMessage
	Content    json.RawMessage
	IsError    bool // the tool ran and said no

	// Asks is what the tool needs before it can go on, by names of its own. State
	// comes back with the answers: it is sealed on its way, good for this caller and
	// this tool alone, and for an hour.
	Asks  map[string]Ask
	State string
}

// Weight returns what the result takes in memory, with what is decoded from it; 0 if r is nil.
func (r *Result) Weight() int64 {
	if r == nil {
		return 0
	}
	return intake.Weight(r.Content) + intake.Weight(r.Structured)
}

// Text returns the text blocks of the content, a line each; it is what a result
// with IsError says in a dialect that has one sentence for it.
func (r *Result) Text() string {
	var blocks []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(r.Content, &blocks); err != nil {
		return "The tool failed."
	}
	var lines []string
	for _, b := range blocks {
		if b.Type == "text" {
			lines = append(lines, b.Text)
		}
	}
	return cmp.Or(strings.Join(lines, "\n"), "The tool failed.")
}

// A Failure is a refusal by the tool itself, told to the caller word for word.
type Failure struct{ Message string }

func (e *Failure) Error() string { return e.Message }

// Errorf makes a [*Failure].
func Errorf(format string, args ...any) error {
	return &Failure{Message: fmt.Sprintf(format, args...)}
}

// A Problem is one thing wrong with the arguments.
type Problem = schema.Problem

// InvalidArguments says that the arguments do not fit the input schema.
type InvalidArguments struct{ Problems []Problem }

func (e *InvalidArguments) Error() string {
	if len(e.Problems) == 0 {
		return "invalid arguments"
	}
	p := e.Problems[0]
	return fmt.Sprintf("invalid arguments: at %q: %s", p.Pointer, p.Message)
}

// Compile checks the tool and prepares its schema. Schemas from elsewhere must
// come through here: the MCP SDK panics on some, such as those with a bad x-mcp-header.
// What is compiled stays as it is, and may be in several catalogs.
func (t *Tool) Compile() error {
	if t.input != nil {
		return nil
	}
	if !ValidName.MatchString(t.Name) || t.Name == "." || t.Name == ".." {
		return fmt.Errorf("tool name %q: use letters, digits, '_', '.' and '-', at most 128", t.Name)
	}
	if t.Handler == nil {
		return fmt.Errorf("tool %s has no handler", t.Name)
	}
	input, err := schema.Compile(t.InputSchema)
	if err != nil {
		return fmt.Errorf("tool %s: input schema: %w", t.Name, err)
	}
	if t.OutputSchema != nil {
		if t.output, err = schema.Compile(t.OutputSchema); err != nil {
			return fmt.Errorf("tool %s: output schema: %w", t.Name, err)
		}
	}
	if err := accepted.Input(t.Name, t.InputSchema); err != nil {
		return fmt.Errorf("tool %s: input schema: %w", t.Name, err)
	}
	if t.OutputSchema != nil {
		if err := accepted.Output(t.Name, t.OutputSchema); err != nil {
			return fmt.Errorf("tool %s: output schema: %w", t.Name, err)
		}
	}
	t.input = input
	return nil
}

// SchemaValues returns the number of JSON values in the schemas of a compiled tool.
func (t *Tool) SchemaValues() int {
	n := t.input.Values()
	if t.output != nil {
		n += t.output.Values()
	}
	return n
}

// ErrPanicked reports a handler that panicked.
var ErrPanicked = errors.New("tool panicked")

// Call checks the arguments and runs the handler. A panic becomes an error that
// wraps [ErrPanicked] and carries the stack, for the log.
func (t *Tool) Call(ctx context.Context, call *Call) (res *Result, err error) {
	if len(call.Arguments) == 0 {
		call.Arguments = json.RawMessage("{}")
	}
	defer caught(t.Name, &res, &err)
	if err := t.input.Check(ctx, call.Arguments); err != nil {
		if invalid, ok := errors.AsType[*schema.Invalid](err); ok {
			return nil, &InvalidArguments{invalid.Problems}
		}
		return nil, err
	}
	if !t.Builtin { // it may wait for others
		turns.Leave(ctx)
	}
	res, err = t.Handler(call.in(ctx), call)
	if err == nil {
		err = turns.Enter(ctx, res.Size())
	}
	if err != nil {
		return nil, err
	}
	if res.asks() && t.Asks {
		return res, call.checkAsks(res)
	}
	if err := t.checkResult(ctx, res); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		if t.Upstream != "" {
			err = &UpstreamError{Kind: UpstreamFailed, Said: true, Err: err}
		}
		return nil, err
	}
	return res, nil
}

func (c *Call) in(ctx context.Context) context.Context { return context.WithValue(ctx, callKey{}, c) }

// caught is deferred, and makes an error of a panic.
func caught(name string, res **Result, err *error) {
	if p := recover(); p != nil {
		*res, *err = nil, fmt.Errorf("%w: %s: %v\n%s", ErrPanicked, name, p, debug.Stack())
	}
}

func (r *Result) asks() bool { return r != nil && len(r.Asks) > 0 }

// checkResult holds an answer against the output schema: clients may rely on it.
func (t *Tool) checkResult(ctx context.Context, res *Result) error {
	switch {
	case res.asks():
		return fmt.Errorf("tool %s asks for more and does not say so: set Asks", t.Name)
	case res == nil || (res.Structured == nil && res.Content == nil):
		return fmt.Errorf("tool %s returned nothing", t.Name)
	case !wellFormed(res):
		return fmt.Errorf("tool %s returned what is not JSON, or content that is no list", t.Name)
	case t.output == nil || res.IsError:
		return nil
	case res.Structured == nil:
		return fmt.Errorf("tool %s has an output schema and returned no structured result", t.Name)
	}
	err := t.output.Check(ctx, res.Structured)
	if invalid, ok := errors.AsType[*schema.Invalid](err); ok {
		return fmt.Errorf("tool %s returned what its output schema does not allow: %w", t.Name, invalid)
	}
	return err
}
