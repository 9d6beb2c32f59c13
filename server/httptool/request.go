package httptool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"golang.org/x/net/http/httpguts"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/expr"
	"github.com/sangate/sangate/server/tool"
)

// request evaluates the parts of the request.
func (p *Program) request(ctx context.Context, vars map[string]any, secret *credential.Secret) (*http.Request, error) {
	if secret != nil && p.byHand {
		vars["secret"] = secret.Value
	}
	address, err := p.url.expand(ctx, vars)
	if err != nil {
		return nil, p.evaluated("request.url", err)
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
			return nil, p.evaluated("request.headers."+name, err)
		}
		value, ok := scalar(v)
		switch {
		case !ok: // nothing or null
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
			return "", p.evaluated("request.query."+name, err)
		}
		if !add(query, name, v) {
			return "", fmt.Errorf("tool %s: request.query.%s is no value or list of values", p.def.Name, name)
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
	return ok || v == nil || v == expr.Nothing
}

func (p *Program) content(ctx context.Context, vars map[string]any) (body []byte, kind string, err error) {
	if p.body == nil {
		return nil, "", nil
	}
	if t := p.def.Request.BodyType; t == "" || t == "json" {
		body, err := p.body.JSON(ctx, vars)
		if err != nil {
			err = p.evaluated("request.body", err)
		}
		return body, "application/json", err
	}
	v, err := p.body.Eval(ctx, vars)
	if err != nil {
		return nil, "", p.evaluated("request.body", err)
	}
	switch p.def.Request.BodyType {
	case "text":
		text, _ := scalar(v)
		return []byte(text), "text/plain; charset=utf-8", nil
	case "form":
		fields, ok := v.(map[string]any)
		form := make(url.Values, len(fields))
		for name, value := range fields {
			ok = ok && add(form, name, value)
		}
		if !ok {
			return nil, "", fmt.Errorf("tool %s: request.body is no map of values", p.def.Name)
		}
		return []byte(form.Encode()), "application/x-www-form-urlencoded", nil
	}
	return nil, "", fmt.Errorf("tool %s: no body of type %s", p.def.Name, p.def.Request.BodyType)
}

// evaluated tells a caller of arguments that an expression cannot do with.
func (p *Program) evaluated(field string, err error) error {
	if _, ok := errors.AsType[*tool.Failure](err); ok {
		return err
	}
	return fmt.Errorf("tool %s: %s: %w", p.def.Name, field, err)
}

// scalar is a value as text; false for what is none.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}
