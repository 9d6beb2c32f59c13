package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
)

// NotAGate is a server that takes the certificate and answers otherwise than a gate.
const NotAGate = "not_a_gate"

// A reply is an answer of the gate.
type reply struct {
	status int
	header http.Header
	body   []byte
	code   string // of an error
	text   string // its sentence
}

// metadata is what of the gate's (RFC 9728) counts.
type metadata struct {
	Servers   []string `json:"authorization_servers"`
	Audiences []string `json:"audiences_supported"`
}

// ask sends one request over a connection to a server that proves itself.
func (e *examination) ask(ctx context.Context, path string, token, header *string) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, e.Wait)
	defer cancel()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, e.remote) },
		TLSClientConfig: &tls.Config{RootCAs: e.roots, ServerName: e.host, MaxVersion: e.MaxVersion, Time: e.Now,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return e.own, nil }},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+e.url.Host+path, nil)
	if err != nil {
		return nil, err
	}
	if token != nil {
		req.Header.Set("Authorization", "Bearer "+*token)
	}
	if header != nil {
		req.Header.Set("X-Octopus-Tenant-Id", *header)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	r := &reply{status: res.StatusCode, header: res.Header}
	if r.body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer)); err != nil {
		return nil, err
	}
	var body struct{ Error, Message string }
	_ = json.Unmarshal(r.body, &body) // of a gate's errors; others have neither
	r.code, r.text = body.Error, body.Message
	return r, nil
}

// lost tells why there is no answer of a server that was met before: with several
// behind one address it may be another one.
func (e *examination) lost(err error) string {
	e.tell("%v", err)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		e.tell("the first time it showed a certificate that is good: there may be several servers behind this address")
		return ServerUntrusted
	}
	return NoAnswer
}

// gate tells whether it is one that answers, and asks which tokens it takes.
func (e *examination) gate(ctx context.Context) string {
	m := e.met
	var health struct{ Status, Error string }
	_ = json.Unmarshal(m.body, &health)
	switch {
	case m.status == 0:
		e.tell("GET /health: %v", m.unanswered)
		if silent(m.unanswered) {
			return NoAnswer
		}
		return NotAGate
	case m.header.Get("X-Request-Id") == "" || health.Status == "" && health.Error == "":
		e.tell("GET /health: status %d, no answer of a gate", m.status)
		return NotAGate
	case m.status == http.StatusUnauthorized:
		e.tell("GET /health: 401 (request id %q)", m.header.Get("X-Request-Id"))
		return string(pki.CertRevoked)
	case m.status == http.StatusForbidden:
		e.tell("GET /health: 403 (request id %q): of the name %s the gate knows nothing", m.header.Get("X-Request-Id"), e.url.Host)
		return NotAGate
	}
	e.tell("GET /health: status %d", m.status)
	res, err := e.ask(ctx, answer.MetadataPath, nil, nil)
	if err != nil {
		return e.lost(err)
	}
	var known metadata
	if err := json.Unmarshal(res.body, &known); res.status != http.StatusOK || err != nil {
		e.tell("GET %s: status %d; which tokens it takes is not known", answer.MetadataPath, res.status)
		return ""
	}
	e.metadata = &known
	if len(known.Servers) > 0 {
		e.tell("it takes tokens of %s", strings.Join(known.Servers, ", "))
	}
	return ""
}

// tools tells what may be called, and whether what is to be is among it.
func (e *examination) tools(res *reply) string {
	var list []struct{ Name string }
	if err := json.Unmarshal(res.body, &list); err != nil {
		e.tell("GET /tools: no list of tools")
		return NotAGate
	}
	e.tell("GET /tools: %d tools", len(list))
	if e.Tool == "" {
		return ""
	}
	if !slices.ContainsFunc(list, func(t struct{ Name string }) bool { return t.Name == e.Tool }) {
		e.tell("%q is not among them", e.Tool)
		return string(auth.ToolDenied)
	}
	e.tell("%s is among them", e.Tool)
	return ""
}
