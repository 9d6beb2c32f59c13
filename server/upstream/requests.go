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
	"strings"
	"sync/atomic"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

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

// overHTTP sends requests to the endpoint of a session.
type overHTTP struct {
	endpoint string
	client   *http.Client
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
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind != eventStream {
		data, err := io.ReadAll(res.Body)
		if err != nil {
			return nil, err
		}
		if result, ok, err := responseTo(id, data); ok {
			return result, err
		}
		return nil, errors.New("its answer is to another request")
	}
	events := bufio.NewScanner(res.Body)
	events.Buffer(nil, maxAnswer)
	var event bytes.Buffer
	for events.Scan() {
		line := events.Text()
		if data, ok := strings.CutPrefix(line, "data:"); ok {
			if event.Len()+len(data) > maxAnswer {
				return nil, errors.New("an event that is too long")
			}
			if event.Len() > 0 {
				event.WriteByte('\n')
			}
			event.WriteString(data)
			continue
		}
		if line == "" && event.Len() > 0 {
			if result, ok, err := responseTo(id, event.Bytes()); ok {
				return result, err
			}
			event.Reset()
		}
	}
	return nil, errors.Join(errors.New("the stream ended before the answer"), events.Err())
}
