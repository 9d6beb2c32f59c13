package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/auth"
)

// FuzzMessage checks that a message that is accepted is one strict JSON object of
// JSON-RPC 2.0, and that a second reader finds the same id, method, tool name and
// arguments in it: what is decided about is what is called.
//
// Holds: client/message-read-once
func FuzzMessage(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"a"},"_meta":{"progressToken":1}}}`,
		`{"jsonrpc":"2.0","id":"x","result":{}}`, `{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}`, `[{"jsonrpc":"2.0","method":"ping"}]`,
		`{"jsonrpc":"2.0","method":"ping","method":"tools/call"}`, `{"jsonrpc":"2.0","\u006dethod":"tools/call","params":{"\u006eame":"a","name":"b"}}`,
		`{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a","arguments":{"x":1e999,"y":-0}}}`, `{"jsonrpc":"2.0","method":"ping","Method":"x"}`,
		`{"jsonrpc":"2.0","method":"a","params":[1]}`, `{"jsonrpc":"2.0","method":"a","params":null}`, `{"jsonrpc":"1.0","method":"a"}`, `{"jsonrpc":"2.0","method":"\ud800"}`,
		"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}", `{"jsonrpc":"2.0","method":"a"} {}`, `{"jsonrpc":"2.0","method":"a","params":{"name":1,"arguments":[]}}`,
		strings.Repeat(`{"a":`, 5000), strings.Repeat("[", 100_000), `{"jsonrpc":"2.0","method":"a","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var known metas
		m := new(message)
		if m.parse(body, &known) != nil {
			return
		}
		if !jsontext.Value(body).IsValid() || jsontext.Value(body).Kind() != '{' {
			t.Fatalf("took %q, which is not one strict JSON object", body)
		}
		var want struct {
			Version string         `json:"jsonrpc"`
			ID      jsontext.Value `json:"id"`
			Method  string         `json:"method"`
			Params  jsontext.Value `json:"params"`
			Result  jsontext.Value `json:"result"`
			Error   jsontext.Value `json:"error"`
		}
		if err := jsonv2.Unmarshal(body, &want, jsonv2.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("took %q: %v", body, err)
		}
		if want.Version != "2.0" || want.Method != m.method || !bytes.Equal(want.ID, m.id) || m.response != (want.Result != nil || want.Error != nil) || m.params != (want.Params != nil) {
			t.Fatalf("%q: read method %q, id %q, response %v; want %+v", body, m.method, m.id, m.response, want)
		}
		if want.Params == nil {
			return
		}
		var params map[string]jsontext.Value
		if err := jsonv2.Unmarshal(want.Params, &params); err != nil || want.Params.Kind() != '{' {
			t.Fatalf("took the parameters %q: %v", want.Params, err)
		}
		name := ""
		if params["name"].Kind() == '"' {
			_ = jsonv2.Unmarshal(params["name"], &name)
		}
		if m.name != name || !bytes.Equal(m.arguments, params["arguments"]) {
			t.Errorf("%q: read tool %q, arguments %q; want %q, %q", body, m.name, m.arguments, name, params["arguments"])
		}
		// What the SDK decodes with encoding/json, without regard to case, is the same.
		var sdk struct{ Method string }
		if err := json.Unmarshal(body, &sdk); err != nil || sdk.Method != m.method {
			t.Errorf("%q: encoding/json reads method %q, %v", body, sdk.Method, err)
		}
	})
}

func decisionOf(f *testing.F, tenant, name string) *auth.Decision {
	id, err := pki.ParseIdentity(pkitest.NewCA(f, "CA").Issue(f, pkitest.Leaf{DNS: []string{name}}).Leaf)
	if err != nil {
		f.Fatal(err)
	}
	return &auth.Decision{Principal: auth.Principal{TenantID: tenant, Key: "dns:" + name, Identity: id}}
}

// FuzzSession checks that no header but the one that was handed out is a session of
// its owner, and none is one of somebody else. The same holds for the state of a
// tool that asks.
//
// Holds: client/session-forgery
func FuzzSession(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	clock := func() time.Time { return now }
	s, seal := newSessions(clock), newSealer(clock)
	owner, other := decisionOf(f, "acme", "a.example"), decisionOf(f, "globex", "b.example")
	id, ctx := s.begin(owner), auth.WithDecision(context.Background(), owner)
	state := seal.seal(ctx, methodCall, "asks", "state")
	for _, v := range []string{id, state, id[1:], id + "=", id[:74] + "\n", strings.ToUpper(id), "", strings.Repeat("A", 75), strings.Repeat("A", len(state))} {
		f.Add(v, 0, byte(0))
	}
	f.Fuzz(func(t *testing.T, text string, at int, flip byte) {
		for _, whole := range []string{id, state} {
			changed := []byte(whole)
			changed[uint(at)%uint(len(changed))] ^= flip
			for _, value := range []string{text, string(changed)} {
				if _, got := s.look([]string{value}, owner); (got == own) != (value == id) {
					t.Errorf("session %q: verdict %d; handed out: %q", value, got, id)
				}
				if _, got := s.look([]string{value}, other); got == own {
					t.Errorf("session %q is another's", value)
				}
				if plain, ok := seal.open(ctx, methodCall, "asks", value); ok != (value == state) || ok && plain != "state" {
					t.Errorf("state %q opens as %q, %v; sealed: %q", value, plain, ok, state)
				}
				if _, ok := seal.open(ctx, methodCall, "other", value); ok {
					t.Errorf("state %q opens for another tool", value)
				}
			}
		}
	})
}
