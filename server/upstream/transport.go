package upstream

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/egress"
	"github.com/sangate/sangate/server/intake"
	"github.com/sangate/sangate/server/tracing"
)

// client returns an HTTP client to the upstream: behind the guard, with the gate's
// certificate and this moment's credential.
func (s *Server) client() *http.Client {
	target := egress.Target{HTTP2: true, Dial: s.conns.dial}
	if s.conf.CA != "" {
		target.Roots, _ = egress.Roots([]byte(s.conf.CA)) // was checked
	}
	target.Certificate = Certificate(s.conf.ClientCertificate, s.opts.Certificate)
	client := s.opts.Guard.Client(target)
	client.Transport = &authorized{server: s, base: client.Transport.(roundTripper)}
	return client
}

// Certificate returns what asks for a client certificate as configured; nil where
// there is none. Files are read at each handshake, so a renewed one is shown at the
// next.
func Certificate(c *config.ClientCertificate, own func() (*tls.Certificate, error)) func() (*tls.Certificate, error) {
	switch {
	case c == nil:
		return nil
	case c.Gate:
		return own
	}
	files := pki.Files{Cert: string(c.Cert), Key: string(c.Key)}
	return func() (*tls.Certificate, error) {
		cert, err := files.LoadCertificate()
		if err != nil { // between the two files of a renewal
			time.Sleep(50 * time.Millisecond)
			cert, err = files.LoadCertificate()
		}
		return cert, err
	}
}

// authorized is a RoundTripper that shows the credential, bounds answers, and asks
// for the credential again after a 401.
type authorized struct {
	server *Server
	base   roundTripper
}

// roundTripper is the part of http.Transport that is used.
type roundTripper interface {
	http.RoundTripper
	CloseIdleConnections()
}

// forgetter is a resolver that holds secrets for a while.
type forgetter interface{ Forget(id int64) }

// RoundTrip returns a response, or an error, without the secrets that were sent to
// the upstream.
func (a *authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := a.roundTrip(r)
	if err != nil {
		return nil, a.server.scrub.Error(err)
	}
	res.Status = a.server.scrub.String(res.Status)
	a.server.scrub.Header(res.Header)
	res.Body = a.server.scrub.Reader(res.Body)
	return res, nil
}

func (a *authorized) roundTrip(r *http.Request) (*http.Response, error) {
	res, secret, err := a.send(r)
	if err != nil || res.StatusCode != http.StatusUnauthorized || secret == nil {
		return bounded(res, err)
	}
	a.server.Wake()
	a.server.opts.Authorizer.Forget(secret)
	if f, ok := a.server.opts.Resolver.(forgetter); ok {
		f.Forget(secret.ID)
	}
	if r.GetBody == nil && r.Body != nil && r.Body != http.NoBody {
		return bounded(res, nil)
	}
	// It did nothing yet: once more, with what the secret is by now.
	again, err := a.server.secret(r.Context())
	if err != nil || (again.Value == secret.Value && again.Type != credential.OAuth2) {
		return bounded(res, nil)
	}
	drain(res)
	r = r.Clone(r.Context())
	if r.GetBody != nil {
		if r.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	res, _, err = a.send(r)
	return bounded(res, err)
}

func (a *authorized) send(r *http.Request) (*http.Response, *credential.Secret, error) {
	if a.server.conf.CredentialID == 0 {
		res, err := a.base.RoundTrip(traced(r))
		return res, nil, err
	}
	secret, err := a.server.secret(r.Context())
	if err != nil {
		return nil, nil, errors.Join(err, closeBody(r))
	}
	r = r.Clone(r.Context()) // a RoundTripper changes no request
	a.server.scrub.UseSecret(secret)
	if err := a.server.opts.Authorizer.Authorize(r.Context(), secret, r.Header); err != nil {
		return nil, nil, errors.Join(err, closeBody(r))
	}
	a.server.scrub.UseHeader(r.Header, secret.Header)
	res, err := a.base.RoundTrip(traced(r))
	return res, secret, err
}

// traced has a request carry the context of the trace that it is part of.
func traced(r *http.Request) *http.Request {
	if tracing.On(r.Context()) {
		r = r.Clone(r.Context())
		tracing.Inject(r.Context(), r.Header)
	}
	return r
}

// CloseIdleConnections is for http.Client.
func (a *authorized) CloseIdleConnections() { a.base.CloseIdleConnections() }

func closeBody(r *http.Request) error {
	if r.Body == nil {
		return nil
	}
	return r.Body.Close()
}

// drain has the connection used again, where little is left to read.
func drain(res *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 4<<10))
	_ = res.Body.Close()
}

// bounded keeps an answer that never ends from being read for ever. Event streams
// have a bound for each event.
func bounded(res *http.Response, err error) (*http.Response, error) {
	if kind, _, _ := mime.ParseMediaType(contentType(res)); err == nil && kind != eventStream {
		res.Body = &limited{ReadCloser: res.Body, left: maxAnswer, taken: intake.AnswerTo(res.Request.Context())}
	}
	return res, err
}

const eventStream = "text/event-stream"

func contentType(res *http.Response) string {
	if res == nil {
		return ""
	}
	return res.Header.Get("Content-Type")
}

// limited fails, and does not end, past its bound.
type limited struct {
	io.ReadCloser
	left  int64
	taken *intake.Answer
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	}
	n, err := l.ReadCloser.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	if grown := l.taken.Grow(2 * (maxAnswer - l.left)); grown != nil {
		return 0, grown
	}
	return n, err
}
