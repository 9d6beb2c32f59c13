package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"github.com/sangate/sangate/server/tool"
	"github.com/sangate/sangate/server/tracing"
)

// current returns the link, where the upstream is up, for an exchange that the
// caller tells the end of.
func (s *Server) current() (link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.up || s.link == nil {
		err := s.lastErr
		if err == nil {
			err = errors.New("it has just broken off, and is looked for")
		}
		return nil, &tool.UpstreamError{Kind: tool.UpstreamUnavailable, Err: fmt.Errorf("upstream %s is unavailable: %w", s.conf.Name, err)}
	}
	s.exchanges.Add(1)
	return s.link, nil
}

// failureOf is the kind of a failure for a trace, one of few; "" for none.
func failureOf(res *tool.Result, err error) string {
	switch {
	case err == nil && res.IsError:
		return "tool_error"
	case err == nil:
		return ""
	}
	if _, ok := errors.AsType[*tool.Failure](err); ok {
		return "tool_error"
	}
	if failed, ok := errors.AsType[*tool.UpstreamError](err); ok {
		return failed.Kind
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return tool.UpstreamTimeout
	}
	return tool.UpstreamFailed
}

// scrubbed removes the secrets sent to the upstream from what an exchange returned.
// Bytes were looked at when they came; this finds secrets that decoding has revealed.
func (s *Server) scrubbed(res *tool.Result, err error) (*tool.Result, error) {
	if err == nil {
		res.Content, res.Structured = s.scrub.JSON(res.Content), s.scrub.JSON(res.Structured)
		return res, nil
	}
	clean := s.scrub.Error(err)
	if clean == err {
		return res, err
	}
	if _, ok := errors.AsType[*tool.Failure](err); ok {
		return nil, tool.Errorf("%s", clean)
	}
	if failed, ok := errors.AsType[*tool.UpstreamError](err); ok {
		return nil, &tool.UpstreamError{Kind: failed.Kind, Said: failed.Said, Err: clean}
	}
	return nil, clean
}

// exchange runs one with the upstream, within its timeout.
func (s *Server) exchange(ctx context.Context, method, target string,
	do func(context.Context, link) (*tool.Result, error)) (out *tool.Result, _ error) {
	l, err := s.current()
	if err != nil {
		return nil, err
	}
	defer s.exchanges.Done()
	within, cancel := context.WithTimeout(ctx, s.conf.Timeout())
	defer cancel()
	within, asked := tracing.Outward(within, tracing.Call{Server: s.conf.Name, URL: s.conf.BaseURL, Method: method, Target: target})
	within, answers := s.answers.Begin(within)
	defer func() { answers.End(out.Weight()) }()
	start := time.Now()
	res, err := do(within, l)
	if said, ok := errors.AsType[*jsonrpc.Error](err); ok {
		asked.Code(said.Code)
	}
	res, err = s.scrubbed(res, err)
	asked.End(failureOf(res, err))
	s.opts.OnExchange(ctx, s.conf.Name, time.Since(start))
	switch {
	case err == nil:
		return res, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case within.Err() != nil:
		s.Wake() // slow, or gone without a word
		return nil, &tool.UpstreamError{Kind: tool.UpstreamTimeout, Err: fmt.Errorf("upstream %s: nothing within %s", s.conf.Name, s.conf.Timeout())}
	}
	if _, ok := errors.AsType[*tool.Failure](err); ok {
		return nil, err
	}
	failed, ok := errors.AsType[*tool.UpstreamError](err)
	if !ok {
		failed = &tool.UpstreamError{Kind: tool.UpstreamFailed, Err: err}
	}
	if !failed.Said {
		s.Wake() // the link may be broken, or the credential another
	}
	return nil, &tool.UpstreamError{Kind: failed.Kind, Said: failed.Said, Err: fmt.Errorf("upstream %s: %w", s.conf.Name, failed.Err)}
}
