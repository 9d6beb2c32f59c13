package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sangate/sangate/server/tool"
	"github.com/sangate/sangate/server/tracing"
)

// Some tools can only be called as a task (2025-11-25, "Tasks"): the answer is a
// ticket, and the result is fetched when it is ready. The gate does the fetching;
// its callers see an ordinary call. The SDK knows no tasks, so these requests go
// past it, on the same session.

// A requester sends one request past the SDK and returns its result.
type requester interface {
	request(ctx context.Context, method string, params any) (json.RawMessage, error)
}

// The pace at which a task is asked after.
const (
	minPoll = 50 * time.Millisecond
	maxPoll = 5 * time.Second
)

type task struct {
	ID     string `json:"taskId"`
	Status string `json:"status"`
	Poll   int64  `json:"pollInterval"` // milliseconds
}

func (l *mcpLink) callTask(ctx context.Context, name string, call *tool.Call) (*tool.Result, error) {
	ttl := time.Minute
	if end, ok := ctx.Deadline(); ok {
		ttl = time.Until(end)
	}
	var created struct {
		Task task `json:"task"`
	}
	params := map[string]any{"name": name, "arguments": call.Arguments, "task": map[string]any{"ttl": ttl.Milliseconds()}}
	if meta := tracing.Meta(ctx); meta != nil {
		params["_meta"] = meta
	}
	err := l.ask(ctx, &created, "tools/call", params)
	if err != nil {
		return nil, err
	}
	t := created.Task
	if t.ID == "" {
		return nil, errors.New("it answered a call as a task without one")
	}
	done := false
	defer func() {
		if !done { // nobody waits for it any more
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = l.ask(ctx, nil, "tasks/cancel", map[string]any{"taskId": t.ID})
		}
	}()
	for t.Status == "working" {
		select {
		case <-time.After(min(max(time.Duration(t.Poll)*time.Millisecond, minPoll), maxPoll)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if err := l.ask(ctx, &t, "tasks/get", map[string]any{"taskId": t.ID}); err != nil {
			return nil, err
		}
	}
	if t.Status != "completed" && t.Status != "failed" {
		return nil, &tool.UpstreamError{Kind: tool.UpstreamFailed, Said: true, Err: fmt.Errorf("the task is %.50q", t.Status)}
	}
	done = true
	var res struct {
		Content    json.RawMessage `json:"content"`
		Structured json.RawMessage `json:"structuredContent"`
		IsError    bool            `json:"isError"`
	}
	if err := l.ask(ctx, &res, "tasks/result", map[string]any{"taskId": t.ID}); err != nil {
		return nil, err
	}
	return &tool.Result{Content: res.Content, Structured: res.Structured, IsError: res.IsError}, nil
}

// ask sends a request and reads its result into out, which may be nil.
func (l *mcpLink) ask(ctx context.Context, out any, method string, params any) error {
	raw, err := l.raw.request(ctx, method, params)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("its answer to %s: %w", method, err)
	}
	return nil
}
