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
	badCertificate     = 42
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
	return s.configure(config, config.VerifyConnection, false)
}

// ConfigureSteps is [Sender.Configure] for a client that is verified in two steps: by
// verify, before it has proved that it holds its key, and after the handshake. The
// caller must call [Sender.Judge] once the second is done, or the handshake failed.
func (s *Sender) ConfigureSteps(config *tls.Config, verify func(tls.ConnectionState) error) *tls.Config {
	return s.configure(config, verify, config.SessionTicketsDisabled)
}

func (s *Sender) configure(config *tls.Config, verify func(tls.ConnectionState) error, keep bool) *tls.Config {
	config = config.Clone()
	config.KeyLogWriter = (*keyLog)(s)
	config.VerifyConnection = func(cs tls.ConnectionState) error {
		err := verify(cs)
		if err != nil {
			s.send(&cs, pki.ReasonOf(err, ""))
		}
		if err != nil || !keep {
			s.forget()
		}
		return err
	}
	return config
}

// Judge sends the alert for a client that is refused for err after its handshake, and
// before anything is written to it; err may be nil. With TLS 1.2 nothing is sent, nor
// with session tickets: the number of the next record is not known.
func (s *Sender) Judge(cs *tls.ConnectionState, err error) {
	if s == nil {
		return
	}
	defer s.forget()
	reason := pki.ReasonOf(err, "")
	if reason == "" || cs.Version != tls.VersionTLS13 {
		return
	}
	code, ok := codes[reason]
	if !ok {
		code = badCertificate
	}
	s.write(cs, code)
}

// Sent reports whether the connection has had its last record.
func (s *Sender) Sent() bool { return s != nil && s.sent }

// send does nothing on a resumed session: with TLS 1.3 the server may have sent
// records already, so that the number of the next one is not known.
func (s *Sender) send(cs *tls.ConnectionState, reason pki.Reason) {
	if code, ok := codes[reason]; ok && !cs.DidResume {
		s.write(cs, code)
	}
}

func (s *Sender) write(cs *tls.ConnectionState, code byte) {
	record, err := recordOf(cs.Version, cs.CipherSuite, s.secret, code)
	if err != nil {
		return
	}
	s.sent = true
	_, _ = s.conn.Write(record) // if it fails, the client is gone
}

// forget clears the secret.
func (s *Sender) forget() {
	clear(s.secret)
	s.secret = nil
}
