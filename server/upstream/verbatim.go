package upstream

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"github.com/sangate/sangate/server/intake"
)

// The SDK reads a structured result into Go values, where numbers lose digits and
// names their order. So it is made one string before the SDK sees it, and taken out
// of that again behind it: what a tool answered is passed on byte for byte.

// verbatim makes result.structuredContent of one JSON-RPC message a string, and
// moves what the SDK does not know of a list of tools to where it is kept. What is
// no such message stays as it is.
// It runs in goroutines of the SDK, so a panic leaves the message as it is.
func verbatim(message []byte) (out []byte) {
	defer func() {
		if recover() != nil {
			out = message
		}
	}()
	if !bytes.Contains(message, []byte(`"structuredContent"`)) && !bytes.Contains(message, []byte(`"taskSupport"`)) {
		return message
	}
	var outer, result map[string]jsontext.Value
	if jsonv2.Unmarshal(message, &outer) != nil || jsonv2.Unmarshal(outer["result"], &result) != nil {
		return message
	}
	var err error
	switch {
	case result["structuredContent"] != nil:
		result["structuredContent"], err = json.Marshal(string(result["structuredContent"]))
	case result["tools"] != nil:
		result["tools"], err = keepTaskSupport(result["tools"])
	default:
		return message
	}
	if err == nil {
		outer["result"], err = jsonv2.Marshal(result, jsonv2.Deterministic(true))
	}
	if err != nil {
		return message
	}
	if out, err = jsonv2.Marshal(outer, jsonv2.Deterministic(true)); err != nil {
		return message
	}
	return out
}

// taskSupport is where, in _meta, the gate keeps a tool's execution.taskSupport.
const taskSupport = "io.github.sangate/taskSupport"

func keepTaskSupport(list jsontext.Value) (jsontext.Value, error) {
	var tools []map[string]jsontext.Value
	if err := jsonv2.Unmarshal(list, &tools); err != nil {
		return nil, err
	}
	for _, t := range tools {
		var execution struct {
			TaskSupport string `json:"taskSupport"`
		}
		if jsonv2.Unmarshal(t["execution"], &execution) != nil || execution.TaskSupport == "" {
			continue
		}
		meta := make(map[string]jsontext.Value)
		_ = jsonv2.Unmarshal(t["_meta"], &meta) // there may be none
		var err error
		if meta[taskSupport], err = jsonv2.Marshal(execution.TaskSupport); err == nil {
			t["_meta"], err = jsonv2.Marshal(meta, jsonv2.Deterministic(true))
		}
		if err != nil {
			return nil, err
		}
	}
	return jsonv2.Marshal(tools, jsonv2.Deterministic(true))
}

// structured takes it out again.
func structured(content any) (json.RawMessage, error) {
	switch text := content.(type) {
	case nil:
		return nil, nil
	case string:
		return json.RawMessage(text), nil
	}
	return nil, errors.New("a structured result that was not kept as it was")
}

// kept is a RoundTripper for the SDK, by which each message in an answer is made
// verbatim, and those that answer nothing are bounded.
type kept struct {
	base    http.RoundTripper
	inbound *inbound
}

func (k kept) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := begun(k.base, r)
	if err != nil {
		return nil, err
	}
	refusal(r, res, k.inbound.wake)
	switch kind, _, _ := mime.ParseMediaType(contentType(res)); kind {
	case eventStream:
		taken := intake.AnswerTo(r.Context())
		made := &lines{source: res.Body, in: bufio.NewReader(res.Body), prefix: []byte("data:"), taken: taken}
		res.Body = &events{source: made, in: bufio.NewReader(made), passes: k.inbound.passes, silent: k.inbound.silent,
			taken: taken, beside: r.Method == http.MethodGet && !intake.InCall(r.Context())}
	case "application/json":
		res.Body = &whole{source: res.Body, request: r, taken: intake.AnswerTo(r.Context())}
	}
	return res, nil
}

// whole reads all of a JSON answer at the first Read. If that fails, it is an error of
// JSON-RPC: the SDK would end the session, with the calls of all clients, if one of them
// has gone before its answer was read.
type whole struct {
	source  io.ReadCloser
	request *http.Request
	taken   *intake.Answer
	out     *bytes.Reader
}

func (w *whole) Read(p []byte) (int, error) {
	if w.out == nil {
		data, err := io.ReadAll(w.source)
		if err == nil {
			err = light(data, w.taken)
		}
		if err == nil {
			err = w.taken.Turn(len(data))
		}
		if err == nil {
			data = verbatim(data)
		} else if data = failure(w.request, err); data == nil {
			return 0, err
		}
		w.out = bytes.NewReader(data)
	}
	return w.out.Read(p)
}

// failure returns a response to the call that r sends; nil if it is none.
func failure(r *http.Request, why error) []byte {
	if r.GetBody == nil {
		return nil
	}
	body, err := r.GetBody()
	if err != nil {
		return nil
	}
	var m struct {
		ID json.RawMessage `json:"id"`
	}
	if json.NewDecoder(body).Decode(&m) != nil || m.ID == nil {
		return nil
	}
	text, err := json.Marshal("the answer was not read: " + why.Error())
	if err != nil {
		return nil
	}
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%s}}`, m.ID, jsonrpc.CodeInternalError, text)
}

func (w *whole) Close() error { return w.source.Close() }

// lines reads line by line, and makes what stands behind prefix verbatim, if there is one; a
// line is bounded.
type lines struct {
	source io.Closer
	in     *bufio.Reader
	prefix []byte
	taken  *intake.Answer // nil: not counted
	out    []byte
	err    error
}

func (l *lines) Read(p []byte) (int, error) {
	for len(l.out) == 0 {
		if l.err != nil {
			return 0, l.err
		}
		l.next()
	}
	n := copy(p, l.out)
	l.out = l.out[n:]
	return n, nil
}

func (l *lines) next() {
	var line []byte
	for {
		part, err := l.in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxAnswer {
			l.err = errors.New("a line that is too long")
			return
		}
		if l.taken != nil {
			if l.err = l.taken.Grow(2 * int64(len(line))); l.err != nil {
				return
			}
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			l.err = err
			break
		}
	}
	if rest, ok := bytes.CutPrefix(line, l.prefix); ok && l.prefix != nil {
		if made := verbatim(rest); !bytes.Equal(made, rest) {
			line = append(append(bytes.Clone(l.prefix), ' '), made...)
			if !bytes.HasSuffix(line, []byte("\n")) {
				line = append(line, '\n')
			}
		}
	}
	l.out = line
}

func (l *lines) Close() error { return l.source.Close() }
