package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/tenant"
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
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
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

// gate tells whether it is one that answers, and asks which tokens it takes.
func (e *examination) gate(ctx context.Context) string {
	m := e.met
	var health struct{ Status, Error string }
	_ = json.Unmarshal(m.body, &health)
	switch {
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
		e.tell("%v", err)
		return NoAnswer
	}
	_ = json.Unmarshal(res.body, &e.metadata) // what it does not tell is not compared
	if len(e.metadata.Servers) > 0 {
		e.tell("it takes tokens of %s", strings.Join(e.metadata.Servers, ", "))
	}
	return ""
}

// request asks for the tools, as the client would, and where that is refused with
// less, to learn by what.
func (e *examination) request(ctx context.Context) string {
	res, err := e.ask(ctx, "/tools", e.Token, e.TenantHeader)
	if err != nil {
		e.tell("%v", err)
		return NoAnswer
	}
	if res.status == http.StatusOK {
		return e.tools(res)
	}
	e.tell("GET /tools: %d %s %q (request id %q)", res.status, res.code, res.text, res.header.Get("X-Request-Id"))
	status := func(token, header *string) int {
		res, err := e.ask(ctx, "/tools", token, header)
		if err != nil {
			return 0
		}
		return res.status
	}
	if e.TenantHeader != nil && (res.status == http.StatusForbidden || res.status == http.StatusBadRequest) {
		if status(e.Token, nil) == http.StatusOK {
			e.tell("without X-Octopus-Tenant-Id it is let in")
			if res.status == http.StatusBadRequest {
				return string(auth.HeaderMalformed)
			}
			return string(auth.HeaderMismatch)
		}
	}
	switch res.status {
	case http.StatusBadRequest:
		return string(auth.TokenMalformed)
	case http.StatusTooManyRequests:
		e.tell("again after %q s", res.header.Get("Retry-After"))
		return string(auth.RateLimited)
	case http.StatusServiceUnavailable:
		return string(auth.JWKSUnavailable)
	case http.StatusForbidden:
		switch {
		case res.code == "insufficient_scope":
			e.tell("%s", res.header.Get("WWW-Authenticate"))
			return string(auth.TokenScope)
		case e.Token != nil && status(nil, nil) != http.StatusForbidden:
			e.tell("with the certificate alone it is asked for a token: the certificate has a tenant, and the token is of another")
			return string(auth.TenantMismatch)
		}
		e.tell("with the certificate alone it is refused as well: no tenant, or two, or one that is switched off")
		return string(tenant.Unmapped)
	case http.StatusUnauthorized:
		switch {
		case strings.EqualFold(res.header.Get("Connection"), "close") && strings.Contains(res.text, "certificate"):
			return string(pki.CertRevoked)
		case e.Token == nil:
			return string(auth.TokenMissing)
		case strings.Count(*e.Token, ".") == 2:
			e.tell("what it says of itself is right; its key or signature is not")
			return string(auth.TokenSignature)
		}
		return string(auth.TokenUnknown)
	}
	return NotAGate
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
