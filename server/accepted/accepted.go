// Package accepted tells whether the MCP SDK accepts a tool, resource or prompt, before
// one is registered: the SDK panics on what it does not accept, and would do so at a
// tenant's first request.
package accepted

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// maxProblem bounds what is repeated of the SDK's words, in bytes.
const maxProblem = 300

// Input reports what is wrong with the input schema of a tool.
func Input(name string, schema json.RawMessage) error {
	return try(func(s *sdk.Server) error {
		s.AddTool(&sdk.Tool{Name: name, InputSchema: schema}, nil)
		return nil
	})
}

// Output reports what is wrong with the output schema of a tool.
func Output(name string, schema json.RawMessage) error {
	return try(func(s *sdk.Server) error {
		s.AddTool(&sdk.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`), OutputSchema: schema}, nil)
		return nil
	})
}

// Resource reports what is wrong with a resource, or a template of resources, as
// resources/list or resources/templates/list has it.
func Resource(described json.RawMessage, template bool) error {
	return try(func(s *sdk.Server) error {
		if template {
			var t sdk.ResourceTemplate
			if err := json.Unmarshal(described, &t); err != nil {
				return err
			}
			s.AddResourceTemplate(&t, nil)
			return nil
		}
		var r sdk.Resource
		if err := json.Unmarshal(described, &r); err != nil {
			return err
		}
		s.AddResource(&r, nil)
		return nil
	})
}

// Prompt reports what is wrong with a prompt, as prompts/list has it.
func Prompt(described json.RawMessage) error {
	return try(func(s *sdk.Server) error {
		var p sdk.Prompt
		if err := json.Unmarshal(described, &p); err != nil {
			return err
		}
		s.AddPrompt(&p, nil)
		return nil
	})
}

// try registers something with a server of its own, and returns a panic as an error.
func try(register func(*sdk.Server) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New(shortened(fmt.Sprint(p)))
		}
	}()
	return register(sdk.NewServer(&sdk.Implementation{Name: "trial", Version: "1"}, nil))
}

// shortened drops the SDK's `AddTool "name": `: the caller names the tool itself.
func shortened(text string) string {
	if rest, ok := strings.CutPrefix(text, "AddTool "); ok {
		if _, problem, found := strings.Cut(rest, `": `); found {
			text = problem
		}
	}
	if len(text) > maxProblem {
		text = strings.ToValidUTF8(text[:maxProblem], "") + "…"
	}
	return text
}
