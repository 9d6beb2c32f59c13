package upstream

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"github.com/sangate/sangate/server/tool"
)

var messages = []string{
	`{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{"b":1.50,"a":12345678901234567890},"content":[]}}`,
	`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","execution":{"taskSupport":"required"},"_meta":{"x":1}}]}}`,
	`{"result":{"structuredContent":null}}`, `{"result":{"structuredContent":"{\"a\":1}"}}`, `{"result":{"structuredContent":1,"structuredContent":2}}`, `{"result":[{"structuredContent":1}]}`,
	`{"result":{"\u0073tructuredContent":1},"x":"structuredContent"}`, `{"result":{"tools":{"taskSupport":1}}}`, `{"params":{"structuredContent":{}}}`, `"structuredContent"`,
	`{"result":{"structuredContent":` + strings.Repeat("[", 2000), `{"jsonrpc":"2.0","id":"sangate-1","result":{}}`, `{"result":{"tools":[{"execution":{"taskSupport":"forbidden"},"_meta":[]}],"taskSupport":0}}`,
}

// FuzzVerbatim checks that a message is changed only where a structured result
// becomes a string of its very bytes, and stays one JSON value on one line.
//
// Holds: upstream/result-verbatim
func FuzzVerbatim(f *testing.F) {
	for _, s := range messages {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		in := bytes.Clone(message)
		out := verbatim(message)
		if !bytes.Equal(in, message) {
			t.Fatal("the message was changed in place")
		}
		if bytes.Equal(in, out) {
			return
		}
		if !jsontext.Value(in).IsValid() || !jsontext.Value(out).IsValid() || bytes.ContainsAny(out, "\r\n") && !bytes.ContainsAny(in, "\r\n") {
			t.Fatalf("%q became %q", in, out)
		}
		before, after := members(t, in), members(t, out)
		resultBefore, resultAfter := members(t, before["result"]), members(t, after["result"])
		if was := resultBefore["structuredContent"]; was != nil {
			var text any
			if err := json.Unmarshal(resultAfter["structuredContent"], &text); err != nil {
				t.Fatal(err)
			}
			if got, err := structured(text); err != nil || !bytes.Equal(got, was) {
				t.Errorf("%q comes back as %q, %v", was, got, err)
			}
		}
		for _, name := range []string{"structuredContent", "tools"} {
			delete(resultBefore, name)
			delete(resultAfter, name)
		}
		delete(before, "result")
		delete(after, "result")
		if !reflect.DeepEqual(before, after) || !reflect.DeepEqual(resultBefore, resultAfter) {
			t.Errorf("%q became %q", in, out)
		}
		if len(out) > 3*len(in)+200 {
			t.Errorf("%d bytes became %d", len(in), len(out))
		}
	})
}

func members(t *testing.T, value []byte) map[string]jsontext.Value {
	var out map[string]jsontext.Value
	if err := jsonv2.Unmarshal(value, &out); err != nil {
		t.Fatalf("%q: %v", value, err)
	}
	return out
}

func readLines(t *testing.T, stream []byte, slow bool) []byte {
	var in io.Reader = bytes.NewReader(stream)
	if slow {
		in = iotest.OneByteReader(in)
	}
	out, err := io.ReadAll(&lines{source: io.NopCloser(nil), in: bufio.NewReader(in), prefix: []byte("data:")})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// FuzzEventStream checks that rewriting an event stream does not depend on how its
// bytes arrive, leaves every line but data as it is, and makes no line of its own
// within it: an upstream cannot smuggle in an event.
//
// Holds: upstream/event-stream
func FuzzEventStream(f *testing.F) {
	for _, s := range messages {
		f.Add([]byte("event: message\nid: 1\ndata: " + s + "\n\n"))
		f.Add([]byte("data:" + s + "\r\ndata: " + s + "\r\n\r\n: comment\n"))
		f.Add([]byte("data: " + s))
	}
	// As long after as before: the string must not pass for the bytes of a result.
	f.Add([]byte("data:{\"result\":{\"structuredContent\":\"1\"}}   \n\n"))
	f.Add([]byte("data: {\"result\":\rdata: {\"structuredContent\":1}}\n\n"))
	f.Add([]byte("\ufeffdata:\x00\n\n\n\n" + strings.Repeat("data: x\n", 1000)))
	f.Fuzz(func(t *testing.T, stream []byte) {
		out := readLines(t, stream, false)
		if slow := readLines(t, stream, true); !bytes.Equal(slow, out) {
			t.Fatalf("byte by byte %q, at once %q", slow, out)
		}
		before, after := bytes.SplitAfter(stream, []byte("\n")), bytes.SplitAfter(out, []byte("\n"))
		if last := len(after) - 1; len(after) == len(before)+1 && len(after[last]) == 0 {
			after = after[:last] // a last line that had no end has one now
		}
		if len(before) != len(after) {
			t.Fatalf("%d lines became %d: %q, %q", len(before), len(after), stream, out)
		}
		for i, line := range before {
			data, isData := bytes.CutPrefix(line, []byte("data:"))
			changed := isData && !bytes.Equal(verbatim(data), data)
			if changed == bytes.Equal(line, after[i]) {
				t.Fatalf("line %q became %q, to be changed: %v", line, after[i], changed)
			}
			if !changed {
				continue
			}
			made, stays := bytes.CutPrefix(after[i], []byte("data: "))
			if !isData || !stays || !bytes.Equal(bytes.TrimSpace(made), verbatim(data)) {
				t.Errorf("line %q became %q", line, after[i])
			}
		}
	})
}

// FuzzOctopusResult checks the answer of an Octopus server: what passes as a result
// can stand in our answer as it is.
//
// Holds: upstream/octopus-answer
func FuzzOctopusResult(f *testing.F) {
	for _, s := range []string{`{"content":[{"type":"text","text":"x"}]}`, ` {"a":1} `, `{"content":1}`, `{"content":[],"a":1}`, `{"content":[],"content":[]}`, `[1]`, `null`, `1},"error":{}`, "", "\ufeff{}", "{\"a\":\"\xff\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		res, err := octopusResult(data)
		if err != nil {
			return
		}
		if (res.Structured == nil) == (res.Content == nil) {
			t.Fatalf("%q: %+v", data, res)
		}
		for _, value := range []jsontext.Value{jsontext.Value(res.Structured), jsontext.Value(res.Content)} {
			if value != nil && !value.IsValid() {
				t.Errorf("%q passes %q on", data, value)
			}
		}
		if res.Content != nil && jsontext.Value(res.Content).Kind() != '[' {
			t.Errorf("%q passes the content %q on", data, res.Content)
		}
		again, err := octopusResult(data)
		if err != nil || !reflect.DeepEqual(res, again) {
			t.Errorf("%q: %v, then %v", data, res, again)
		}
	})
}

// FuzzOctopusTool checks that an entry of GET /tools is brought to MCP's names once,
// and otherwise kept.
//
// Holds: upstream/octopus-tool
func FuzzOctopusTool(f *testing.F) {
	for _, s := range []string{`{"name":"a","parameters":{"type":"object"}}`, `{"name":"a","inputSchema":{},"parameters":{}}`, `{"name":"a","inputSchema":null,"parameters":1}`, `[]`, `{"a":1,"a":2}`, `null`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		out, err := octopusTool(raw)
		if err != nil {
			return
		}
		if !jsontext.Value(out).IsValid() {
			t.Fatalf("%q became %q", raw, out)
		}
		if twice, err := octopusTool(out); err != nil || !bytes.Equal(twice, out) {
			t.Errorf("%q became %q, then %q, %v", raw, out, twice, err)
		}
	})
}

// FuzzResponse checks that a response counts only for the id it was asked under, over
// a pipe as over HTTP, and that nothing else is kept from the SDK.
//
// Holds: upstream/response-for-another
func FuzzResponse(f *testing.F) {
	for _, s := range append(messages, `{"id":"sangate-7","error":{"code":1,"message":"x"}}`, `{"id":"sangate-7","result":null}`, `{"ID":"sangate-7"}`, `{"id":"sangate-70"}`, `{"id":["sangate-7"]}`) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		const id = "sangate-7"
		c := &commandConn{pipe: newPipe(nil, 0), bounds: newInbound(nil), log: slog.New(slog.DiscardHandler)}
		own, err := jsonrpc.MakeID(id)
		if err != nil {
			t.Fatal(err)
		}
		answer := make(chan *jsonrpc.Response, 1)
		c.pipe.await(own, &awaited{ctx: t.Context(), answer: answer})
		passed := c.message(line)
		took := len(answer) > 0
		if response, is := passed.(*jsonrpc.Response); is || took && (<-answer).ID != own {
			t.Errorf("%q passes as %v, which nobody awaits", line, response)
		}
		_, ok, err := responseTo(id, line)
		if took && !bytes.Contains(line, []byte(id)) || ok && !json.Valid(line) || err != nil && !ok {
			t.Errorf("%q: took %v, responds %v, %v", line, took, ok, err)
		}
		if said, isSaid := errors.AsType[*tool.UpstreamError](err); err != nil && (!isSaid || !said.Said) {
			t.Errorf("%q: %v", line, err)
		}
		if c.message(line); len(answer) > 0 {
			t.Errorf("%q responds twice", line)
		}
	})
}

// FuzzStandardError checks that what a command writes becomes bounded lines of the
// log, however it is cut up.
//
// Holds: upstream/log-line
func FuzzStandardError(f *testing.F) {
	f.Add([]byte("one\ntwo\n"), 3)
	f.Add([]byte("\x1b]0;x\a\r\n\xff\n"), 1)
	f.Add([]byte(strings.Repeat("x", 5000)+"\n"), 700)
	f.Fuzz(func(t *testing.T, out []byte, cut int) {
		var text bytes.Buffer
		l := &logged{log: slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))}
		cut = int(uint(cut) % uint(len(out)+1))
		for _, part := range [][]byte{out[:cut], out[cut:]} {
			if n, err := l.Write(part); n != len(part) || err != nil {
				t.Fatalf("Write = %d, %v, want %d", n, err, len(part))
			}
		}
		if got, want := strings.Count(text.String(), "\n"), bytes.Count(out, []byte("\n")); got != want {
			t.Errorf("%d lines, want %d: %q", got, want, text.String())
		}
		for line := range strings.Lines(text.String()) {
			if len(line) > 6*maxLine+200 || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\r\n\x1b\x00") {
				t.Errorf("a line of %d bytes: %.100q", len(line), line)
			}
		}
		if len(l.line) > maxRead { // more than is logged, so that a secret at its end is found whole
			t.Errorf("%d bytes are held", len(l.line))
		}
	})
}
