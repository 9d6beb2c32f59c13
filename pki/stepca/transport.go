package stepca

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"
)

const (
	maxAnswer  = 1 << 20 // bytes of an answer's body
	maxMessage = 300     // bytes of the authority's own words in an error
)

// A StatusError is an answer of the authority that is not a success. Status is
// the HTTP status: 401 and 403 are refusals, 5xx may pass.
type StatusError struct {
	Status    int
	Message   string // the authority's words, one line
	RequestID string // to look for in the authority's log
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("step-ca answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.RequestID != "" {
		s += " (its request id is " + e.RequestID + ")"
	}
	return s
}

// newTransport returns a transport of one call's life. pair may be nil. The
// step client adds an identity it finds under $STEPPATH to a transport without
// a client certificate; ours always has an answer to the question for one.
func newTransport(roots *x509.CertPool, pair *Pair) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	var own tls.Certificate
	if pair != nil {
		own = pair.TLS()
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableKeepAlives:      true,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS13,
			RootCAs:    roots,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &own, nil
			},
		},
	}
}

// guarded bounds what comes back and turns every answer but a success into a
// [StatusError]. The step client itself reads without bound, follows redirects
// with the token in hand and loses the status of an answer that is not JSON.
type guarded struct{ next http.RoundTripper }

func guard(next http.RoundTripper) http.RoundTripper { return guarded{next} }

func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body := resp.Body
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(body, maxAnswer), body}
		return resp, nil
	}
	defer body.Close()
	data, _ := io.ReadAll(io.LimitReader(body, 64<<10))
	return nil, &StatusError{
		Status:    resp.StatusCode,
		Message:   message(data),
		RequestID: oneLine(resp.Header.Get("X-Request-Id")),
	}
}

// message reads the error body of step-ca; anything else says nothing.
func message(body []byte) string {
	var e struct{ Message, Detail string }
	if json.Unmarshal(body, &e) != nil {
		return ""
	}
	return oneLine(cmp.Or(e.Message, e.Detail))
}

// oneLine keeps a peer's words from breaking a line, or from changing how it is shown.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return s
}
