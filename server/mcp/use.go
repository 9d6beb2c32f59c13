package mcp

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/tool"
	"github.com/sangate/sangate/server/turns"
)

// A Kind is a way of using what is not a tool.
type Kind string

// The kinds there are.
const (
	Read       Kind = "resource_read"
	Get        Kind = "prompt_get"
	Completion Kind = "completion"
)

// Kinds returns all of them.
func Kinds() []Kind { return []Kind{Read, Get, Completion} }

// kind is that of the use that a message may lead to, or "".
func (m *message) kind() Kind {
	switch m.method {
	case methodRead:
		return Read
	case methodGet:
		return Get
	case methodComplete:
		return Completion
	}
	return ""
}

// A Use is that of a resource or prompt.
type Use struct {
	Kind     Kind
	Name     string // of the resource, template or prompt
	Upstream string // whose it is, or ""
	Args     []byte // what is asked for, a JSON object
	unknown  error  // that of one that does not exist
}

// other runs what is behind a resource or prompt; out is filled with its result,
// unless it asks for more.
func (h *Handler) other(ctx context.Context, u Use, out any, do func(context.Context) (*tool.Result, error)) (*tool.Result, error) {
	res, err := h.opts.Use(ctx, u, func(ctx context.Context) (*tool.Result, error) {
		res, err := do(ctx)
		if err == nil {
			err = turns.Enter(ctx, res.Size())
		}
		if err == nil && len(res.Asks) == 0 {
			err = json.Unmarshal(res.Structured, out)
		}
		return res, err
	})
	if err == nil || err == context.Canceled || err == context.DeadlineExceeded { // the request's own
		return res, err
	}
	if errors.Is(err, ErrDenied) {
		return nil, u.unknown
	}
	if refused, ok := errors.AsType[*answer.Error](err); ok {
		return nil, refused
	}
	if needs, ok := errors.AsType[*tool.NeedsCapability](err); ok {
		return nil, missing(needs)
	}
	if failed, ok := errors.AsType[*tool.Failure](err); ok {
		return nil, failed
	}
	if upstream, ok := errors.AsType[*tool.UpstreamError](err); ok {
		return nil, errors.New(upstream.Message())
	}
	return nil, errors.New(answer.Internal.Message)
}
