package httptool

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/expr"
	"github.com/sangate/sangate/server/intake"
	"github.com/sangate/sangate/server/tool"
	"github.com/sangate/sangate/server/tracing"
	"github.com/sangate/sangate/server/turns"
)

// Options are what a tool works with; all but Answers must be set.
type Options struct {
	Client     *http.Client // behind the guard
	Resolver   credential.Resolver
	Authorizer *credential.Authorizer
	Scrubber   *credential.Scrubber // knows the secrets of the configuration
	// Answers bounds what the answers to all tools with it take at once; nil: each tool has a bound of its own.
	Answers *intake.Source
}

// The pace of retries.
const (
	maxTries   = 3
	firstPause = 100 * time.Millisecond
)

func (p *Program) handler(opts Options) tool.Handler {
	answers := cmp.Or(opts.Answers, new(intake.Source))
	return func(ctx context.Context, call *tool.Call) (out *tool.Result, _ error) {
		within, cancel := context.WithTimeout(ctx, p.def.Timeout)
		defer cancel()
		within, counted := answers.Begin(within)
		defer func() { counted.End(out.Weight()) }()
		scrub := opts.Scrubber.Derive()
		res, err := p.call(within, opts, call, scrub)
		if clean := scrub.Error(err); clean != err {
			err = scrubbed(err, clean)
		}
		if err != nil && ctx.Err() == nil && within.Err() != nil {
			return nil, &tool.UpstreamError{Kind: tool.UpstreamTimeout, Err: fmt.Errorf("nothing within %s", p.def.Timeout)}
		}
		return res, err
	}
}

// scrubbed returns clean, the error without secrets, as the kind of error that err is.
func scrubbed(err, clean error) error {
	if _, ok := errors.AsType[*tool.Failure](err); ok {
		return tool.Errorf("%s", clean)
	}
	if failed, ok := errors.AsType[*tool.UpstreamError](err); ok {
		return &tool.UpstreamError{Kind: failed.Kind, Said: failed.Said, Err: clean}
	}
	return clean
}

func (p *Program) call(ctx context.Context, opts Options, call *tool.Call, scrub *credential.Scrubber) (*tool.Result, error) {
	args, err := expr.Decode(call.Arguments, p.args)
	if err != nil {
		return nil, &tool.InvalidArguments{Problems: []tool.Problem{{Message: err.Error()}}}
	}
	vars := map[string]any{"args": args, "tenant": map[string]any{"id": call.Caller.Tenant, "vars": call.Caller.Vars}}
	secret, err := p.secret(ctx, opts, call)
	if err != nil {
		return nil, err
	}
	scrub.UseSecret(secret)
	req, err := p.request(ctx, vars, secret)
	if err != nil {
		return nil, err
	}
	res, err := p.exchange(ctx, opts, req, secret, scrub, call.Arguments)
	if err == nil && res.status == http.StatusUnauthorized && secret != nil {
		// It did nothing yet: once more, if the secret is another by now.
		opts.Authorizer.Forget(secret)
		again, resolveErr := p.secret(ctx, opts, call)
		if resolveErr == nil && (again.Value != secret.Value || again.Type == credential.OAuth2) {
			scrub.UseSecret(again)
			if req, err = p.request(ctx, vars, again); err == nil {
				res, err = p.exchange(ctx, opts, req, again, scrub, call.Arguments)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	delete(vars, "secret")
	// As it is known now: of two secrets that were sent, either may be repeated.
	res.body = scrub.Bytes(res.body)
	if isJSON(res.header) {
		res.body = scrub.JSON(res.body)
	}
	scrub.Header(res.header)
	return p.result(ctx, vars, res)
}

// useRequest adds the credentials of a request that its definition puts there: what
// the caller sent itself is no secret from the caller.
func useRequest(scrub *credential.Scrubber, req *http.Request, arguments []byte) {
	use := func(name, value string) {
		if credential.SecretName(name) && !bytes.Contains(arguments, []byte(value)) {
			scrub.Use(value)
		}
	}
	for name, values := range req.Header {
		for _, value := range values {
			use(name, value)
			if _, credentials, ok := strings.Cut(value, " "); ok {
				use(name, credentials)
			}
		}
	}
	for name, values := range req.URL.Query() {
		for _, value := range values {
			use(name, value)
		}
	}
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

// A response is what came back.
type response struct {
	status int
	header http.Header
	body   []byte
}

// exchange sends the request, again where that is safe and may help.
func (p *Program) exchange(ctx context.Context, opts Options, req *http.Request, secret *credential.Secret, scrub *credential.Scrubber, arguments []byte) (*response, error) {
	if secret != nil && !p.byHand {
		if err := opts.Authorizer.Authorize(ctx, secret, req.Header); err != nil {
			return nil, &tool.UpstreamError{Kind: tool.UpstreamUnavailable, Err: err}
		}
	}
	useRequest(scrub, req, arguments)
	pause := firstPause
	for try := 1; ; try++ {
		res, err := p.send(ctx, opts.Client, req)
		wait, again := pause, err != nil && !errors.Is(err, errTooLarge)
		if err == nil {
			wait, again = retryAfter(res, pause)
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) < wait {
			again = false // there is no time to wait for it
		}
		if !again || try == maxTries || !slices.Contains(idempotent, req.Method) || ctx.Err() != nil {
			if err != nil {
				return nil, &tool.UpstreamError{Kind: tool.UpstreamFailed, Err: withoutQuery(err)}
			}
			return res, nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		pause *= 2
	}
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

// failureOf is the kind of a failure for a trace: where there was an answer, its
// status; "" for a good one.
func failureOf(res *response, err error) string {
	switch {
	case res == nil:
		return "unreachable"
	case err != nil:
		return "unreadable"
	case res.status >= 400:
		return strconv.Itoa(res.status)
	}
	return ""
}

var errTooLarge = errors.New("a response over maxResponseBytes")

func (p *Program) send(ctx context.Context, client *http.Client, req *http.Request) (*response, error) {
	ctx, asked := tracing.OutwardHTTP(ctx, req)
	tracing.InjectParent(ctx, req.Header)
	res, err := p.receive(client, req.WithContext(ctx))
	if res != nil {
		asked.Status(res.status)
	}
	asked.End(failureOf(res, err))
	return res, err
}

// receive sends a request and reads the answer. Where that does not come whole, there
// is an error beside it.
func (p *Program) receive(client *http.Client, req *http.Request) (*response, error) {
	if req.GetBody != nil {
		var err error
		if req.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	turns.Leave(req.Context()) // it waits for the backend
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	taken := intake.AnswerTo(req.Context())
	body, err := io.ReadAll(&counted{io.LimitReader(res.Body, p.def.MaxBytes+1), taken, 0})
	if err == nil && int64(len(body)) > p.def.MaxBytes {
		err = fmt.Errorf("%w: more than %d bytes", errTooLarge, p.def.MaxBytes)
	}
	if err == nil && len(body) > intake.Free && isJSON(res.Header) {
		err = taken.Grow(intake.Weight(body)) // which may wait
	}
	if err == nil {
		err = turns.Enter(req.Context(), len(body))
	}
	return &response{res.StatusCode, res.Header, body}, err
}

// counted counts what is read as memory of its request.
type counted struct {
	io.Reader
	taken *intake.Answer
	read  int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += int64(n)
	if grown := c.taken.Grow(2 * c.read); grown != nil {
		return 0, grown
	}
	return n, err
}

func isJSON(header http.Header) bool {
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}
