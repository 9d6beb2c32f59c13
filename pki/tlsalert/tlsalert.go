// Package tlsalert tells a client by a TLS alert why its certificate is refused.
//
// crypto/tls sends bad_certificate if VerifyConnection fails. It has exact alerts
// only for chains that it verifies by itself, and that may take a hundred
// signatures by keys of the client's choice. A [Sender] sends the exact alert
// instead, after a verification whose work is bounded. It sends at most one record,
// the last one of its connection. If it cannot, crypto/tls's own alert goes out.
package tlsalert

import (
	"crypto/tls"
	"io"

	"github.com/sangate/sangate/pki"
)

// Alerts of RFC 8446, 6.2.
const (
	certificateRevoked = 44
	certificateExpired = 45
	unknownCA          = 48
)

// codes are the reasons with an alert of their own.
var codes = map[pki.Reason]byte{
	pki.Untrusted:   unknownCA,
	pki.Expired:     certificateExpired,
	pki.NotYetValid: certificateExpired, // as crypto/tls has it
	pki.Revoked:     certificateRevoked,
}

// A Sender sends the alert of one connection. Only the goroutine of the handshake
// may use it until the handshake is over.
type Sender struct {
	conn   io.Writer
	secret []byte // of the server's application traffic, with TLS 1.3
	sent   bool
}

// New makes a sender for the connection below TLS.
func New(conn io.Writer) *Sender { return &Sender{conn: conn} }

// Configure returns a copy of config for the handshake of the sender's connection.
// The caller must drop what crypto/tls writes once [Sender.Sent] is true: its own
// alert would use the same record number.
func (s *Sender) Configure(config *tls.Config) *tls.Config {
	verify := config.VerifyConnection
	config = config.Clone()
	config.KeyLogWriter = (*keyLog)(s)
	config.VerifyConnection = func(cs tls.ConnectionState) error {
		err := verify(cs)
		if err != nil {
			s.send(&cs, pki.ReasonOf(err, ""))
		}
		clear(s.secret)
		s.secret = nil
		return err
	}
	return config
}

// Sent reports whether the connection has had its last record.
func (s *Sender) Sent() bool { return s != nil && s.sent }

// send does nothing on a resumed session: with TLS 1.3 the server may have sent
// records already, so that the number of the next one is not known.
func (s *Sender) send(cs *tls.ConnectionState, reason pki.Reason) {
	code, ok := codes[reason]
	if !ok || cs.DidResume {
		return
	}
	record, err := recordOf(cs.Version, cs.CipherSuite, s.secret, code)
	if err != nil {
		return
	}
	s.sent = true
	_, _ = s.conn.Write(record) // if it fails, the client is gone
}
