package upstream

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// overPipe sends messages to a command, and knows the requests among them that await a response: the SDK's, and those
// past it.
//
// Messages are queued: a command that does not read its input holds up no caller beyond the end of its request.
type overPipe struct {
	out   deadlineWriter
	stall time.Duration // a command that reads nothing for so long is given up

	mu      sync.Mutex
	waiting map[jsonrpc.ID]*awaited
	queue   [][]byte      // the first is being written
	queued  int           // bytes
	more    chan struct{} // has one element if queue was empty and no longer is
	drained chan struct{} // closed when queued falls below maxQueued; nil if nobody waits
	failed  error         // of a write
	ended   chan struct{} // closed by Close, or when a write has failed
	once    sync.Once
}

// A deadlineWriter is a pipe's end.
type deadlineWriter interface {
	io.WriteCloser
	SetWriteDeadline(t time.Time) error
}

// Requests wait while maxQueued bytes are to be written. At most pipePiece bytes are written at once.
const (
	maxQueued = 1 << 20
	pipePiece = 16 << 10
)

// newPipe returns one; the caller runs its write method.
func newPipe(out deadlineWriter, stall time.Duration) *overPipe {
	return &overPipe{out: out, stall: stall, waiting: make(map[jsonrpc.ID]*awaited),
		more: make(chan struct{}, 1), ended: make(chan struct{})}
}

// Write queues a whole message.
func (o *overPipe) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.gone(); err != nil {
		return 0, err
	}
	o.queue = append(o.queue, bytes.Clone(p))
	o.queued += len(p)
	select {
	case o.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

var errEnded = errors.New("the command has ended")

// gone returns why nothing can be written any more. Callers hold mu.
func (o *overPipe) gone() error {
	select {
	case <-o.ended:
		return cmp.Or(o.failed, errEnded)
	default:
		return nil
	}
}

// write writes what is queued until Close, or until a write fails.
func (o *overPipe) write() {
	for {
		select {
		case <-o.more:
		case <-o.ended:
			return
		}
		for {
			o.mu.Lock()
			if len(o.queue) == 0 {
				o.mu.Unlock()
				break
			}
			message := o.queue[0]
			o.mu.Unlock()
			if err := o.writeAll(message); err != nil {
				o.fail(err)
				return
			}
			o.mu.Lock()
			o.queue[0] = nil
			o.queue = o.queue[1:]
			if o.queued -= len(message); o.queued < maxQueued && o.drained != nil {
				close(o.drained)
				o.drained = nil
			}
			o.mu.Unlock()
		}
	}
}

func (o *overPipe) writeAll(message []byte) error {
	for piece := range slices.Chunk(message, pipePiece) {
		if err := o.out.SetWriteDeadline(time.Now().Add(o.stall)); err != nil {
			return err
		}
		if _, err := o.out.Write(piece); errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("the command has not read its input for %s", o.stall)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (o *overPipe) fail(err error) {
	o.mu.Lock()
	o.failed, o.queue, o.queued = err, nil, 0
	o.mu.Unlock()
	_ = o.Close()
}

// failure returns the error of the write that ended it, if one did.
func (o *overPipe) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed
}

// room waits until less than maxQueued bytes are queued.
func (o *overPipe) room(ctx context.Context) error {
	for {
		o.mu.Lock()
		err := o.gone()
		if err != nil || o.queued < maxQueued {
			o.mu.Unlock()
			return err
		}
		if o.drained == nil {
			o.drained = make(chan struct{})
		}
		drained := o.drained
		o.mu.Unlock()
		select {
		case <-drained:
		case <-o.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close ends the command's input.
func (o *overPipe) Close() error {
	o.once.Do(func() { close(o.ended) })
	return o.out.Close()
}

// awaited is a request that awaits a response.
type awaited struct {
	ctx    context.Context        // of its call
	answer chan *jsonrpc.Response // has room for one; nil if the SDK awaits it
	stop   func() bool
}

// await notes a request that is about to be sent, until it is answered or its context ends.
func (o *overPipe) await(id jsonrpc.ID, a *awaited) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting[id] = a
	a.stop = context.AfterFunc(a.ctx, func() { o.answered(id) })
}

// answered returns the request that awaits the response with an id, and forgets it; nil if there is none.
func (o *overPipe) answered(id jsonrpc.ID) *awaited {
	o.mu.Lock()
	defer o.mu.Unlock()
	a := o.waiting[id]
	if a != nil {
		delete(o.waiting, id)
		a.stop()
	}
	return a
}

// awaits reports whether a response is awaited.
func (o *overPipe) awaits() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting) > 0
}

func (o *overPipe) request(ctx context.Context, method string, params any) (json.RawMessage, error) {
	text, body, err := newRequest(method, params)
	if err != nil {
		return nil, err
	}
	id, err := jsonrpc.MakeID(text)
	if err != nil {
		return nil, err
	}
	answer := make(chan *jsonrpc.Response, 1)
	o.await(id, &awaited{ctx: ctx, answer: answer})
	defer o.answered(id)
	if _, err := o.Write(append(body, '\n')); err != nil {
		return nil, err
	}
	select {
	case response := <-answer:
		if response.Error != nil {
			return nil, said(response.Error)
		}
		return response.Result, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-o.ended:
		o.mu.Lock()
		defer o.mu.Unlock()
		return nil, o.gone()
	}
}
