package tool

import (
	"context"
	"encoding/json"
)

// UpstreamKinds are the ways in which what stands behind a tool fails.
const (
	UpstreamFailed      = "upstream_error"
	UpstreamUnavailable = "unavailable"
	UpstreamTimeout     = "timeout"
)

// An UpstreamError says that what stands behind a tool did not do its part. The
// caller is told the kind, the log the rest.
type UpstreamError struct {
	Kind string
	Said bool // it is what the upstream answered; else there was no answer
	Err  error
}

func (e *UpstreamError) Error() string { return e.Err.Error() }
func (e *UpstreamError) Unwrap() error { return e.Err }

// Message is what the caller is told.
func (e *UpstreamError) Message() string {
	switch e.Kind {
	case UpstreamUnavailable:
		return "What stands behind this tool cannot be reached now."
	case UpstreamTimeout:
		return "What stands behind this tool took too long."
	}
	return "What stands behind this tool failed."
}

// An Offer is what one upstream has.
type Offer struct {
	Tools     []*Tool
	Resources []*Resource
	Prompts   []*Prompt
}

// A Resource is one that clients of the Model Context Protocol can read, or a
// template of many. The policy on tools goes for its name.
type Resource struct {
	Name      string          // that the policy goes by
	URI       string          // or template (RFC 6570)
	Template  bool            // it is one
	Described json.RawMessage // as MCP's resources/list or resources/templates/list has it
	Owner     string          // the tenant that alone may see it; "": any
	Upstream  string
	// Read answers with the result of resources/read, as Structured.
	Read func(ctx context.Context, uri string) (*Result, error)
}

// A Prompt is one that clients of the Model Context Protocol can get. The policy
// on tools goes for its name.
type Prompt struct {
	Name      string
	Described json.RawMessage // as MCP's prompts/list has it; the name in it is not looked at
	Owner     string          // the tenant that alone may see it; "": any
	Upstream  string
	// Get answers with the result of prompts/get, as Structured.
	Get func(ctx context.Context, args map[string]string) (*Result, error)
}
