package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/tool"
)

// maxAnswer bounds what an upstream says at once.
const maxAnswer = 16 << 20

// octopusLink speaks the REST dialect: GET /tools and POST /tool/{name}/call.
type octopusLink struct {
	base   string
	client *http.Client
}

func (l *octopusLink) look(ctx context.Context) (*listing, error) {
	res, body, err := l.send(ctx, http.MethodGet, "tools", nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, &statusError{res.StatusCode}
	}
	out := &listing{}
	if err := jsonv2.Unmarshal(body, &out.tools); err != nil {
		return nil, errNotOctopus
	}
	for i, raw := range out.tools {
		if out.tools[i], err = octopusTool(raw); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// octopusTool brings an entry to MCP's names: older servers call the schema
// parameters.
func octopusTool(raw json.RawMessage) (json.RawMessage, error) {
	var fields map[string]jsontext.Value
	if err := jsonv2.Unmarshal(raw, &fields); err != nil {
		return nil, errNotOctopus
	}
	if p, ok := fields["parameters"]; ok && fields["inputSchema"] == nil {
		fields["inputSchema"] = p
		delete(fields, "parameters")
	}
	return jsonv2.Marshal(fields, jsonv2.Deterministic(true))
}

var errNotOctopus = errors.New("GET /tools does not answer with an array of tools")

func (l *octopusLink) call(ctx context.Context, name string, call *tool.Call) (*tool.Result, error) {
	body := append([]byte(`{"arguments":`), call.Arguments...)
	res, data, err := l.send(ctx, http.MethodPost, "tool/"+url.PathEscape(name)+"/call", append(body, '}'))
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return octopusResult(data)
	}
	var said struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}
	_ = json.Unmarshal(data, &said) // what is no JSON says nothing more than the status
	switch {
	case res.StatusCode == http.StatusUnprocessableEntity, res.StatusCode == http.StatusBadRequest && said.Error == "invalid_arguments":
		message := said.Message
		if message == "" || len(message) > 8<<10 {
			message = "The tool said no."
		}
		return nil, tool.Errorf("%s", message)
	case res.StatusCode == http.StatusServiceUnavailable, res.StatusCode == http.StatusTooManyRequests:
		return nil, &tool.UpstreamError{Kind: tool.UpstreamUnavailable, Said: true, Err: &statusError{res.StatusCode}}
	case res.StatusCode == http.StatusGatewayTimeout:
		return nil, &tool.UpstreamError{Kind: tool.UpstreamTimeout, Said: true, Err: &statusError{res.StatusCode}}
	}
	return nil, &statusError{res.StatusCode}
}

// octopusResult reads {"content":[…]}, or a structured result.
func octopusResult(data []byte) (*tool.Result, error) {
	value := jsontext.Value(data)
	if !value.IsValid() {
		return nil, errors.New("its answer is not JSON")
	}
	if value.Kind() == '{' {
		var fields map[string]jsontext.Value
		if err := jsonv2.Unmarshal(data, &fields); err == nil && len(fields) == 1 && fields["content"].Kind() == '[' {
			return &tool.Result{Content: json.RawMessage(fields["content"])}, nil
		}
	}
	return &tool.Result{Structured: bytes.TrimSpace(data)}, nil
}

func (*octopusLink) read(context.Context, string) (*tool.Result, error) {
	return nil, errors.New("no resources in this protocol")
}

func (*octopusLink) prompt(context.Context, string, map[string]string) (*tool.Result, error) {
	return nil, errors.New("no prompts in this protocol")
}

func (l *octopusLink) close() { l.client.CloseIdleConnections() }

func (l *octopusLink) send(ctx context.Context, method, path string, body []byte) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(l.base, "/")+"/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := l.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err == nil && len(data) > maxAnswer {
		err = fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	}
	return res, data, err
}

// A statusError is an answer that was not expected.
type statusError struct{ status int }

func (e *statusError) Error() string { return fmt.Sprintf("it answered %d", e.status) }
