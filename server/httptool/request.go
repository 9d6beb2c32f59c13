package httptool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"

	"golang.org/x/net/http/httpguts"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/expr"
	"github.com/sangate/sangate/server/tool"
)

// maxHeadValue bounds the address of a request, and each value of a header, in bytes:
// hardly a server takes more, and most end the connection.
const maxHeadValue = 64 << 10

// request evaluates the parts of the request.
func (p *Program) request(ctx context.Context, vars map[string]any, secret *credential.Secret) (*http.Request, error) {
	if secret != nil && p.byHand {
		vars["secret"] = secret.Value
	}
	address, err := p.url.expand(ctx, vars)
	if err != nil {
		return nil, p.evaluated(ctx, "request.url", p.url.uses("args"), err)
	}
	query, err := p.parameters(ctx, vars)
	if err != nil {
		return nil, err
	}
	body, kind, err := p.content(ctx, vars)
	if err != nil {
		return nil, err
	}
	if query != "" {
		address += "?" + query
	}
	if len(address) > maxHeadValue {
		return nil, tool.Errorf("The arguments are too long for an address: %d bytes, more than %d.", len(address), maxHeadValue)
	}
	req, err := http.NewRequest(p.def.Request.Method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body == nil {
		req.Body, req.GetBody, req.ContentLength = nil, nil, 0
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "sangate")
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	for name, e := range p.headers {
		v, err := e.Eval(ctx, vars)
		if err != nil {
			return nil, p.evaluated(ctx, "request.headers."+name, e.Uses("args"), err)
		}
		value, ok := scalar(v)
		switch {
		case missing(v):
		case !ok:
			return nil, p.unfit("request.headers."+name, "a value", e)
		case len(value) > maxHeadValue:
			return nil, tool.Errorf("A value for the header %s is too long: %d bytes, more than %d.", name, len(value), maxHeadValue)
		case !httpguts.ValidHeaderFieldValue(value):
			return nil, tool.Errorf("A value for the header %s cannot stand in one.", name)
		default:
			req.Header.Set(name, value)
		}
	}
	return req, nil
}

func (p *Program) parameters(ctx context.Context, vars map[string]any) (string, error) {
	query := make(url.Values, len(p.names))
	for _, name := range p.names {
		v, err := p.query[name].Eval(ctx, vars)
		if err != nil {
			return "", p.evaluated(ctx, "request.query."+name, p.query[name].Uses("args"), err)
		}
		if !add(query, name, v) {
			return "", p.unfit("request.query."+name, "a value or a list of values", p.query[name])
		}
	}
	return query.Encode(), nil
}

// add adds a value, or each of a list; it reports false for what is neither.
func add(values url.Values, name string, v any) bool {
	if list, ok := v.([]any); ok {
		for _, item := range list {
			text, ok := scalar(item)
			if !ok {
				return false
			}
			values.Add(name, text)
		}
		return true
	}
	text, ok := scalar(v)
	if ok {
		values.Add(name, text)
	}
	return ok || missing(v)
}

// missing reports null, or what comes to nothing.
func missing(v any) bool { return v == nil || v == expr.Nothing }

func (p *Program) content(ctx context.Context, vars map[string]any) (body []byte, kind string, err error) {
	if p.body == nil {
		return nil, "", nil
	}
	if t := p.def.Request.BodyType; t == "" || t == "json" {
		body, err := p.body.JSON(ctx, vars)
		if err != nil {
			err = p.evaluated(ctx, "request.body", p.body.Uses("args"), err)
		}
		return body, "application/json", err
	}
	v, err := p.body.Eval(ctx, vars)
	if err != nil {
		return nil, "", p.evaluated(ctx, "request.body", p.body.Uses("args"), err)
	}
	switch p.def.Request.BodyType {
	case "text":
		text, ok := scalar(v)
		if !ok && !missing(v) {
			return nil, "", p.unfit("request.body", "a text", p.body)
		}
		return []byte(text), "text/plain; charset=utf-8", nil
	case "form":
		fields, ok := v.(map[string]any)
		form := make(url.Values, len(fields))
		for name, value := range fields {
			ok = ok && add(form, name, value)
		}
		if !ok {
			return nil, "", p.unfit("request.body", "an object of values and lists of values", p.body)
		}
		return []byte(form.Encode()), "application/x-www-form-urlencoded", nil
	}
	return nil, "", fmt.Errorf("tool %s: no body of type %s", p.def.Name, p.def.Request.BodyType)
}

// evaluated tells a caller of arguments that an expression cannot do with. What fails
// without a look at them is a mistake of the definition.
func (p *Program) evaluated(ctx context.Context, field string, args bool, err error) error {
	if _, ok := errors.AsType[*tool.Failure](err); ok {
		return err
	}
	if args && ctx.Err() == nil {
		return tool.Errorf("The arguments cannot be used for %s.", field)
	}
	return fmt.Errorf("tool %s: %s: %w", p.def.Name, field, err)
}

// unfit says that an expression comes to something else than is wanted: by the caller's
// arguments, or always.
func (p *Program) unfit(field, want string, e *expr.Program) error {
	if e.Uses("args") {
		return tool.Errorf("The arguments do not come to %s for %s.", want, field)
	}
	return fmt.Errorf("tool %s: %s is not %s", p.def.Name, field, want)
}

// scalar is a value as text; false for what is none, and for a number that is none.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "", false
		}
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}
