package upstream

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
)

// callMethods are the methods that the gate calls for its clients.
var callMethods = []string{"tools/call", "resources/read", "prompts/get"}

// refusal turns an answer that refuses one call, such as a firewall's 403, into an error of JSON-RPC: the SDK would end
// the session, with the calls of all clients. wake has the session looked at, if the refusal means that it is gone.
func refusal(r *http.Request, res *http.Response, wake func()) {
	switch {
	case res.StatusCode < 400 || res.StatusCode > 499 || r.Method != http.MethodPost || r.GetBody == nil:
		return
	case slices.Contains([]int{http.StatusUnauthorized, http.StatusNotFound, http.StatusTooManyRequests}, res.StatusCode):
		return // of the credential, of the session, and what the SDK knows
	}
	sent, err := r.GetBody()
	if err != nil {
		return
	}
	var m struct {
		Method string `json:"method"`
	}
	if json.NewDecoder(sent).Decode(&m) != nil || !slices.Contains(callMethods, m.Method) {
		return
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxUnasked+1))
	var said struct {
		Error json.RawMessage `json:"error"`
	}
	if err == nil && len(text) <= maxUnasked && json.Unmarshal(text, &said) == nil && bytes.HasPrefix(said.Error, []byte("{")) {
		res.Body = &whole{source: res.Body, out: bytes.NewReader(text)}
		return
	}
	answer := failure(r, &statusError{res.StatusCode})
	if answer == nil {
		return
	}
	res.StatusCode, res.Status = http.StatusOK, ""
	res.Header.Set("Content-Type", "application/json")
	res.Body = &whole{source: res.Body, out: bytes.NewReader(answer)}
	wake()
}
