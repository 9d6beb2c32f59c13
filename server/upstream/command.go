package upstream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/pki/contain"
	"github.com/sangate/sangate/server/intake"
)

// commandConn is the connection of a session to a command, one message a line. It knows the call that each response is
// for, so what the response takes is counted for that call's request before it is decoded; one that nobody waits for is
// dropped. While the answers to calls take too much, it reads nothing more.
//
// It is an sdk.Connection. The SDK's own reads ahead, and does not say whose call a response is for.
type commandConn struct {
	pipe   *overPipe
	out    deadlineReader // the command's output
	in     *bufio.Reader
	scrub  func(line []byte) []byte
	bounds *inbound
	log    *slog.Logger

	batch []json.RawMessage // messages of the last line that are not read yet
	noted bool              // a line that is no message was logged
	once  sync.Once
}

// A deadlineReader is a pipe's end.
type deadlineReader interface {
	io.Reader
	SetReadDeadline(t time.Time) error
}

var _ sdk.Connection = (*commandConn)(nil)

func (s *Server) commandConn(pipe *overPipe, out deadlineReader) *commandConn {
	return &commandConn{pipe: pipe, out: out, in: bufio.NewReaderSize(out, 64<<10), scrub: s.scrub.Bytes,
		bounds: newInbound(pipe.ended), log: s.log}
}

// Connect implements sdk.Transport: the connection is there already.
func (c *commandConn) Connect(context.Context) (sdk.Connection, error) { return c, nil }

// SessionID implements sdk.Connection.
func (c *commandConn) SessionID() string { return "" }

// Close ends the command's input, and a Read that waits for its output.
func (c *commandConn) Close() (err error) {
	c.once.Do(func() { err = errors.Join(c.pipe.Close(), c.out.SetReadDeadline(time.Unix(1, 0))) })
	return err
}

// Write queues a message; ctx is that of the call that it is of.
func (c *commandConn) Write(ctx context.Context, m jsonrpc.Message) error {
	data, err := jsonrpc.EncodeMessage(m)
	if err != nil {
		return err
	}
	if r, ok := m.(*jsonrpc.Request); ok && r.IsCall() {
		c.pipe.await(r.ID, &awaited{ctx: ctx})
	}
	_, err = c.pipe.Write(append(data, '\n'))
	return err
}

// Read returns the next message that is the SDK's. It ends the session only if the command's output ends.
func (c *commandConn) Read(context.Context) (jsonrpc.Message, error) {
	for {
		if len(c.batch) == 0 {
			line, err := c.line()
			if err != nil {
				return nil, err
			}
			c.batch = messagesOf(c.scrub(line))
			continue
		}
		raw := c.batch[0]
		c.batch = c.batch[1:]
		if m := c.message(raw); m != nil {
			return m, nil
		}
	}
}

// messagesOf returns the messages of a line: one, or those of a batch as revisions before 2025-06-18 have them.
func messagesOf(line []byte) []json.RawMessage {
	line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("\ufeff")))
	var batch []json.RawMessage
	if len(line) > 0 && line[0] == '[' && len(line) <= maxUnasked && json.Unmarshal(line, &batch) == nil {
		return batch
	}
	return []json.RawMessage{line}
}

// line reads a line. A long one can only be a response, so it is dropped while none is awaited.
func (c *commandConn) line() ([]byte, error) {
	var parts [][]byte // joined in the end: a slice that grows would be copied again and again
	size, dropped := 0, false
	for {
		part, err := c.in.ReadSlice('\n')
		if size += len(part); size > maxAnswer {
			return nil, errors.New("a line that is too long")
		}
		switch {
		case dropped && !c.bounds.pause(1+len(part)/unaskedPiece):
			return nil, errEnded
		case dropped || size > maxUnasked && !c.pipe.awaits():
			parts, size, dropped = nil, 0, true
		case err == nil && parts == nil:
			return bytes.Clone(part), nil
		default:
			parts = append(parts, bytes.Clone(part))
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err == nil && dropped:
			dropped = false
		case err == nil, errors.Is(err, io.EOF) && size > 0:
			return bytes.Join(parts, nil), nil
		default:
			return nil, err
		}
	}
}

// message returns the message of a text if the SDK is to have it, or nil.
func (c *commandConn) message(raw []byte) (m jsonrpc.Message) {
	defer contain.Panic(c.log, "read a line of an upstream")
	if len(raw) == 0 {
		return nil
	}
	m, err := jsonrpc.DecodeMessage(raw)
	if err != nil {
		c.junk(raw)
		return nil
	}
	response, ok := m.(*jsonrpc.Response)
	if !ok {
		if !c.bounds.passes(raw) {
			return nil
		}
		return m
	}
	awaited := c.pipe.answered(response.ID)
	if awaited == nil {
		return nil // its call has ended
	}
	if err := light(raw, intake.AnswerTo(awaited.ctx)); err != nil {
		m = &jsonrpc.Response{ID: response.ID, Error: unreadable(err)}
	} else if awaited.answer == nil {
		if made := verbatim(raw); len(made) != len(raw) || &made[0] != &raw[0] {
			if m, err = jsonrpc.DecodeMessage(made); err != nil {
				m = response
			}
		}
	}
	if awaited.answer != nil {
		awaited.answer <- m.(*jsonrpc.Response)
		return nil
	}
	return m
}

// unreadable is the error in the place of an answer that was not read.
func unreadable(why error) *jsonrpc.Error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: fmt.Sprintf("the answer was not read: %v", why)}
}

// junk counts and logs a line that is no message.
func (c *commandConn) junk(line []byte) {
	c.bounds.pause(min(1+len(line)/unaskedPiece, unaskedPerSec))
	level := slog.LevelDebug
	if !c.noted {
		c.noted, level = true, slog.LevelWarn
	}
	c.log.Log(context.Background(), level, "command of upstream printed a line that is not a message; skipped",
		"line", string(line[:min(len(line), maxLine)]))
}
