package upstream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"sync/atomic"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"github.com/sangate/sangate/server/intake"
	"github.com/sangate/sangate/server/tool"
)

// ownID begins the ids of requests that are not the SDK's.
const ownID = "sangate-"

var lastID atomic.Int64

// A message is a JSON-RPC request of ours, or what may be the response to it.
type message struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      string          `json:"id"`
	Method  string          `json:"method,omitempty"`
	Params  any             `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *jsonrpc.Error  `json:"error,omitempty"`
}

func newRequest(method string, params any) (id string, body []byte, err error) {
	id = fmt.Sprintf("%s%d", ownID, lastID.Add(1))
	body, err = json.Marshal(message{JSONRPC: "2.0", ID: id, Method: method, Params: params})
	return id, body, err
}

// responseTo returns the response to id, where the message is one.
func responseTo(id string, data []byte) (json.RawMessage, bool, error) {
	var m message
	if json.Unmarshal(data, &m) != nil || m.ID != id {
		return nil, false, nil
	}
	if m.Error != nil {
		return nil, true, &tool.UpstreamError{Kind: tool.UpstreamFailed, Said: true, Err: m.Error}
	}
	return m.Result, true, nil
}

// overHTTP sends requests to the endpoint of a session. Their answers count as those to the SDK's do.
type overHTTP struct {
	endpoint string
	client   *http.Client
	inbound  *inbound
	session  func() (id, version string)
}

func (o *overHTTP) request(ctx context.Context, method string, params any) (json.RawMessage, error) {
	id, body, err := newRequest(method, params)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	session, version := o.session()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("MCP-Protocol-Version", version)
	if session != "" {
		req.Header.Set("Mcp-Session-Id", session)
	}
	res, err := o.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, &statusError{res.StatusCode}
	}
	taken := intake.AnswerTo(ctx)
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind == eventStream {
		return o.awaited(id, res.Body, taken)
	}
	data, err := io.ReadAll(res.Body)
	if err == nil {
		err = light(data, taken)
	}
	if err == nil {
		err = taken.Turn(len(data))
	}
	if err != nil {
		return nil, err
	}
	if result, ok, err := responseTo(id, data); ok {
		return result, err
	}
	return nil, errors.New("its answer is to another request")
}

// awaited reads events until one is the response to id. Others are bounded as those that nobody asked for.
func (o *overHTTP) awaited(id string, stream io.ReadCloser, taken *intake.Answer) (json.RawMessage, error) {
	counted := &lines{source: stream, in: bufio.NewReader(stream), taken: taken}
	e := &events{source: counted, in: bufio.NewReader(counted), silent: o.inbound.silent, taken: taken}
	for {
		_, message, ended := e.read()
		if err := e.weighed(message); err != nil {
			return nil, err
		}
		if result, ok, err := responseTo(id, message); ok {
			return result, err
		}
		if ended != nil {
			return nil, errors.Join(errors.New("the stream ended before the answer"), ended)
		}
		if message != nil && !o.inbound.pause(min(1+len(message)/unaskedPiece, unaskedPerSec)) {
			return nil, errors.New("the session has ended")
		}
	}
}
