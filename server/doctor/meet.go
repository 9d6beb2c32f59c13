package doctor

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A meeting is one connection to a server that is not believed: nothing secret is
// sent on it.
type meeting struct {
	state      tls.ConnectionState
	asked      bool     // for a certificate
	acceptable [][]byte // names of CAs, DER, that the server asks for
	handshake  error    // TLS did not come about, or the certificate was refused
	status     int      // of GET /health; 0: it was not answered, unanswered says why
	unanswered error
	header     http.Header
	body       []byte
	skew       time.Duration // how far the server's clock is ahead, where it told
	dated      bool
}

// meet does a handshake, shows the client's certificate where one is asked for, and
// asks GET /health: with TLS 1.3 the server's word on the certificate comes after
// the client's handshake is done.
func (e *examination) meet(ctx context.Context, maxVersion uint16) *meeting {
	ctx, cancel := context.WithTimeout(ctx, e.Wait)
	defer cancel()
	m := new(meeting)
	raw := e.conn
	if e.conn = nil; raw == nil {
		if raw, m.handshake = dial(ctx, e.remote); m.handshake != nil {
			return m
		}
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{
		ServerName: e.host, InsecureSkipVerify: true, // looked at, not believed: verified by serverCertificate
		MinVersion: tls.VersionTLS12, MaxVersion: maxVersion, NextProtos: []string{"http/1.1"},
		GetClientCertificate: func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			m.asked, m.acceptable = true, slices.Clone(info.AcceptableCAs)
			if e.own == nil {
				return &tls.Certificate{}, nil
			}
			return e.own, nil
		},
		VerifyConnection: func(cs tls.ConnectionState) error {
			m.state = cs
			return nil
		},
	})
	if m.handshake = conn.HandshakeContext(ctx); m.handshake != nil {
		return m
	}
	m.state = conn.ConnectionState() // which knows more than the verified one
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+e.url.Host+"/health", nil)
	if err != nil {
		m.handshake = err
		return m
	}
	req.Close = true
	_ = req.Write(conn) // where it fails, reading tells why
	res, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, 64<<10)), req)
	if err != nil {
		if alertOf(err) != "" {
			m.handshake = err
		}
		m.unanswered = err
		return m
	}
	defer res.Body.Close()
	m.status, m.header = res.StatusCode, res.Header
	if m.body, err = io.ReadAll(res.Body); timedOut(err) { // otherwise what came of it is enough to tell
		m.status, m.unanswered = 0, err
	}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		m.dated, m.skew = true, date.Sub(e.Now())
	}
	return m
}

// wanted are the CAs that the server asks for.
func (m *meeting) wanted() (names []string) {
	for _, name := range m.acceptable {
		names = append(names, distinguished(name))
	}
	return names
}

// Alerts as crypto/tls writes them (RFC 8446, 6.2); it has no type for them that
// could be asked.
const (
	alertExpired   = "expired certificate"
	alertUnknownCA = "unknown certificate authority"
	alertRequired  = "certificate required"
	alertBad       = "bad certificate"
	alertRevoked   = "revoked certificate"
)

// alertOf returns the alert that the server sent, or "".
func alertOf(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return strings.TrimPrefix(op.Err.Error(), "tls: ")
	}
	return ""
}

// reasonOf says an error without what only Go's users know.
func reasonOf(err error) string {
	if alert := alertOf(err); alert != "" {
		return "alert: " + alert
	}
	return strings.TrimPrefix(err.Error(), "tls: ")
}
