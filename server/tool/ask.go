package tool

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/schema"
)

// An Ask is what a tool needs from the caller's side before it can go on: a word
// of its user, a completion by its model, its roots (MCP 2026-07-28, multi
// round-trip requests, SEP-2322). The caller makes the same call again, with the
// answers.
type Ask struct {
	Method string          `json:"method"` // one of the three below
	Params json.RawMessage `json:"params,omitempty"`
}

// Methods of an [Ask], by the specification's section on client features.
const (
	Elicit        = "elicitation/create"
	CreateMessage = "sampling/createMessage"
	ListRoots     = "roots/list"
)

// Capabilities that a client declares if it can answer an [Ask].
const (
	Elicitation = "elicitation"
	Sampling    = "sampling"
	Roots       = "roots"
)

var capabilityOf = map[string]string{Elicit: Elicitation, CreateMessage: Sampling, ListRoots: Roots}

// NeedsCapability says that the client does not declare a capability that the
// tool cannot do without.
type NeedsCapability struct{ Name string }

func (e *NeedsCapability) Error() string {
	return fmt.Sprintf("This needs a client that declares the capability %s, by revision 2026-07-28 of the Model Context Protocol.", e.Name)
}

// Has reports whether the client declares the capability.
func (c *Call) Has(capability string) bool { return slices.Contains(c.Capabilities, capability) }

// checkElicitation holds the schema of what a user is asked for to the limits of those of
// tools: clients compile it.
func checkElicitation(params json.RawMessage) error {
	var asked struct {
		Schema json.RawMessage `json:"requestedSchema"`
	}
	if params == nil {
		return nil
	}
	if err := json.Unmarshal(params, &asked); err != nil {
		return fmt.Errorf("the parameters of an elicitation: %w", err)
	}
	if asked.Schema == nil || string(asked.Schema) == "null" { // of the mode url
		return nil
	}
	if _, err := schema.Compile(asked.Schema); err != nil {
		return fmt.Errorf("requestedSchema: %w", err)
	}
	return nil
}

// checkAsks holds what is asked for against what the client can do: it is not
// asked for more.
func (c *Call) checkAsks(res *Result) error {
	if res.Structured != nil || res.Content != nil {
		return errors.New("a result has both an answer and what it asks for")
	}
	for name, ask := range res.Asks {
		capability := capabilityOf[ask.Method]
		switch {
		case capability == "":
			return fmt.Errorf("%q asks by %q, which is no method of clients", name, ask.Method)
		case ask.Params != nil && !jsontext.Value(ask.Params).IsValid():
			return fmt.Errorf("the parameters of %q are not JSON", name)
		case !c.Has(capability):
			return &NeedsCapability{capability}
		case ask.Method == Elicit:
			if err := checkElicitation(ask.Params); err != nil {
				return fmt.Errorf("%q: %w", name, err)
			}
		}
	}
	return nil
}
