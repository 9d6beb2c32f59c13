package httptool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/expr"
	"github.com/sangate/sangate/server/tool"
)

// Options are what a tool works with; all must be set.
type Options struct {
	Client     *http.Client // behind the guard
	Resolver   credential.Resolver
	Authorizer *credential.Authorizer
}

// The pace of retries.
const (
	maxTries   = 3
	firstPause = 100 * time.Millisecond
)

func (p *Program) handler(opts Options) tool.Handler {
	return func(ctx context.Context, call *tool.Call) (*tool.Result, error) {
		within, cancel := context.WithTimeout(ctx, p.def.Timeout)
		defer cancel()
		res, err := p.call(within, opts, call)
		if err != nil && ctx.Err() == nil && within.Err() != nil {
			return nil, &tool.UpstreamError{Kind: tool.UpstreamTimeout, Err: fmt.Errorf("nothing within %s", p.def.Timeout)}
		}
		return res, err
	}
}

func (p *Program) call(ctx context.Context, opts Options, call *tool.Call) (*tool.Result, error) {
	args, err := expr.Decode(call.Arguments, p.args)
	if err != nil {
		return nil, &tool.InvalidArguments{Problems: []tool.Problem{{Message: err.Error()}}}
	}
	vars := map[string]any{"args": args, "tenant": map[string]any{"id": call.Caller.Tenant, "vars": call.Caller.Vars}}
	secret, err := p.secret(ctx, opts, call)
	if err != nil {
		return nil, err
	}
	req, err := p.request(vars, secret)
	if err != nil {
		return nil, err
	}
	res, err := p.exchange(ctx, opts, req, secret)
	if err == nil && res.status == http.StatusUnauthorized && secret != nil {
		// It did nothing yet: once more, if the secret is another by now.
		opts.Authorizer.Forget(secret)
		again, resolveErr := p.secret(ctx, opts, call)
		if resolveErr == nil && (again.Value != secret.Value || again.Type == credential.OAuth2) {
			if req, err = p.request(vars, again); err == nil {
				res, err = p.exchange(ctx, opts, req, again)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	delete(vars, "secret")
	return p.result(vars, res)
}

// secret looks the tenant's up, or the one that is named by its id; nil where none
// is wanted.
func (p *Program) secret(ctx context.Context, opts Options, call *tool.Call) (*credential.Secret, error) {
	ref := credential.Ref{ID: p.def.CredentialID, Tenant: call.Caller.Tenant, Name: p.def.Credential}
	if ref.ID == 0 && ref.Name == "" {
		return nil, nil
	}
	if ref.ID != 0 {
		ref.Tenant, ref.Name = "", ""
	}
	s, err := opts.Resolver.Resolve(ctx, ref)
	if err == nil && s.Tenant != "" && s.Tenant != call.Caller.Tenant {
		err = fmt.Errorf("%s is another tenant's", s)
	}
	if err != nil {
		return nil, &tool.UpstreamError{Kind: tool.UpstreamUnavailable, Err: fmt.Errorf("tool %s refers to it: %w", p.def.Name, err)}
	}
	return s, nil
}

// request evaluates the parts of the request.
func (p *Program) request(vars map[string]any, secret *credential.Secret) (*http.Request, error) {
	if secret != nil && p.byHand {
		vars["secret"] = secret.Value
	}
	address, err := p.url.expand(vars)
	if err != nil {
		return nil, p.evaluated("request.url", err)
	}
	query, err := p.parameters(vars)
	if err != nil {
		return nil, err
	}
	body, kind, err := p.content(vars)
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
		v, err := e.Eval(vars)
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

func (p *Program) parameters(vars map[string]any) (string, error) {
	query := make(url.Values, len(p.names))
	for _, name := range p.names {
		v, err := p.query[name].Eval(vars)
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

func (p *Program) content(vars map[string]any) (body []byte, kind string, err error) {
	if p.body == nil {
		return nil, "", nil
	}
	if t := p.def.Request.BodyType; t == "" || t == "json" {
		body, err := p.body.JSON(vars)
		if err != nil {
			err = p.evaluated("request.body", err)
		}
		return body, "application/json", err
	}
	v, err := p.body.Eval(vars)
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

// A response is what came back.
type response struct {
	status int
	header http.Header
	body   []byte
}

// exchange sends the request, again where that is safe and may help.
func (p *Program) exchange(ctx context.Context, opts Options, req *http.Request, secret *credential.Secret) (*response, error) {
	if secret != nil && !p.byHand {
		if err := opts.Authorizer.Authorize(ctx, secret, req.Header); err != nil {
			return nil, &tool.UpstreamError{Kind: tool.UpstreamUnavailable, Err: err}
		}
	}
	pause := firstPause
	for try := 1; ; try++ {
		res, err := p.send(ctx, opts.Client, req)
		wait, again := pause, err != nil && !errors.Is(err, errTooLarge)
		if err == nil {
			wait, again = retryAfter(res, pause)
		}
		if !again || try == maxTries || !safe(req.Method) || ctx.Err() != nil {
			if err != nil {
				return nil, &tool.UpstreamError{Kind: tool.UpstreamFailed, Err: withoutQuery(err)}
			}
			return res, nil
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) < wait {
			wait = 0 // no time to wait for it
			if err == nil {
				return res, nil
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		pause *= 2
	}
}

func safe(method string) bool {
	for _, m := range idempotent {
		if m == method {
			return true
		}
	}
	return false
}

// retryAfter reports whether a status says that trying again may help, and when.
func retryAfter(res *response, pause time.Duration) (time.Duration, bool) {
	switch res.status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusTooManyRequests:
	default:
		return 0, false
	}
	if seconds, err := strconv.Atoi(res.header.Get("Retry-After")); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, 3600)) * time.Second, true
	}
	return pause, res.status != http.StatusTooManyRequests
}

// withoutQuery leaves the URL out of an error: it may hold what is not for a log.
func withoutQuery(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}

var errTooLarge = errors.New("a response over maxResponseBytes")

func (p *Program) send(ctx context.Context, client *http.Client, req *http.Request) (*response, error) {
	req = req.WithContext(ctx)
	if req.GetBody != nil {
		var err error
		if req.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, p.def.MaxBytes+1))
	if err == nil && int64(len(body)) > p.def.MaxBytes {
		err = fmt.Errorf("%w: more than %d bytes", errTooLarge, p.def.MaxBytes)
	}
	return &response{res.StatusCode, res.Header, body}, err
}

func isJSON(header http.Header) bool {
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}
