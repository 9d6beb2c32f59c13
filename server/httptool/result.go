package httptool

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/expr"
	"github.com/sangate/sangate/server/tool"
)

// result makes of a response what the tool answers.
func (p *Program) result(ctx context.Context, vars map[string]any, res *response) (*tool.Result, error) {
	said := map[string]any{"status": int64(res.status), "headers": headers(res.header), "body": nil, "text": ""}
	if utf8.Valid(res.body) {
		said["text"] = string(res.body)
	}
	ok := res.status >= 200 && res.status < 300
	if isJSON(res.header) && len(bytes.TrimSpace(res.body)) > 0 {
		body, err := expr.Decode(res.body, nil)
		if err != nil && ok {
			return nil, &tool.UpstreamError{Kind: tool.UpstreamFailed, Said: true, Err: fmt.Errorf("the response is not JSON as it should be: %w", err)}
		}
		if err == nil {
			said["body"] = body
		}
	}
	vars["response"] = said
	if !ok {
		return nil, p.failure(ctx, vars, res.status)
	}
	out, err := p.response.JSON(ctx, vars)
	if err != nil {
		return nil, &tool.UpstreamError{Kind: tool.UpstreamFailed, Said: true, Err: fmt.Errorf("tool %s: response: %w", p.def.Name, err)}
	}
	switch kind := jsontext.Value(out).Kind(); {
	case len(out) == 0 || kind == 'n':
		return tool.Text(""), nil
	case kind == '"' && p.def.Output == nil:
		text, err := jsontext.AppendUnquote(nil, out)
		return tool.Text(string(text)), err
	}
	return &tool.Result{Structured: out}, nil
}

// failure is what a status that is no success comes to: what the definition says
// of it, or in general words.
func (p *Program) failure(ctx context.Context, vars map[string]any, status int) error {
	for _, key := range []string{strconv.Itoa(status), strconv.Itoa(status/100) + "xx", "default"} {
		e := p.errors[key]
		if e == nil {
			continue
		}
		v, err := e.Eval(ctx, vars)
		if text, ok := v.(string); err == nil && ok && text != "" {
			return tool.Errorf("%s", text)
		}
		return &tool.UpstreamError{Kind: tool.UpstreamFailed, Said: true, Err: fmt.Errorf("tool %s: it answered %d, and errors.%s says nothing of it: %v", p.def.Name, status, key, err)}
	}
	answered := fmt.Errorf("tool %s: it answered %d", p.def.Name, status)
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return &tool.UpstreamError{Kind: tool.UpstreamUnavailable, Said: true, Err: answered}
	case status == http.StatusGatewayTimeout:
		return &tool.UpstreamError{Kind: tool.UpstreamTimeout, Said: true, Err: answered}
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status >= 500, status < 400:
		return &tool.UpstreamError{Kind: tool.UpstreamFailed, Said: true, Err: answered}
	}
	return tool.Errorf("The API refused the request (status %d).", status)
}

// headers are those of a response, lower-case, as expressions have them.
func headers(h http.Header) map[string]any {
	out := make(map[string]any, len(h))
	for name, values := range h {
		out[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return out
}
