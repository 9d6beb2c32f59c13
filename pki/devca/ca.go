// Package devca is a real step-ca authority inside this process, for `sangate
// dev` and for tests: the authority and HTTPS API of smallstep/certificates,
// with a JWK and an ACME provisioner, revocation and a CRL.
//
// A folder belongs to one CA at a time, and everything that makes up the CA
// (root, intermediate, provisioner key, database) is in it: opening it again
// continues where it was left.
//
// It refuses to be a production CA: keys lie unencrypted beside the database,
// protected by file modes only. Nothing but `dev` and tests imports it.
package devca

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrInUse reports a folder that another CA, in this process or another, has open.
var ErrInUse = errors.New("the CA folder is in use by another process; stop that one or use another folder")

// provisionerName and acmeName are what clients name the provisioners by.
const (
	provisionerName = "sangate"
	acmeName        = "acme"
)

// Options shape a CA. The zero value is right for `sangate dev`.
type Options struct {
	// Names are the DNS names and IP addresses of the CA's own server
	// certificate, besides the URL's host. Default localhost, 127.0.0.1, ::1.
	Names []string

	// Lifetimes of certificates: what is given when none is asked for (24 h),
	// the least (5 min, or Default if that is less) and the most (7 days, or
	// Default if that is more) that may be asked for. Seconds are fine. They
	// may differ from one opening of the folder to the next.
	Default, Min, Max time.Duration

	AllowRenewalAfterExpiry bool
	NoCRL                   bool

	Logger *slog.Logger // discards when nil
}

// A CA is an open folder. [CA.Serve] makes an authority of it.
type CA struct {
	dir  string
	url  *url.URL
	opts Options
	pki  *pki

	mu     sync.Mutex
	lock   *os.File // nil when closed
	served bool
}

// Open creates the CA in dir or takes up the one that is there. rawURL is where
// clients will reach it, https://host:port: it goes into tokens, ACME answers
// and the CRL. Open starts nothing; it returns [ErrInUse].
func Open(dir, rawURL string, opts Options) (*CA, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("devca: %q is not a URL to reach the CA at; give https://host:port", rawURL)
	}
	if err := opts.complete(u.Hostname()); err != nil {
		return nil, fmt.Errorf("devca: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("devca: %w", err)
	}
	ca := &CA{dir: dir, url: &url.URL{Scheme: "https", Host: u.Host}, opts: opts}
	if ca.lock, err = lock(dir); err != nil {
		return nil, fmt.Errorf("devca: %w", err)
	}
	if ca.pki, err = openPKI(dir, time.Now()); err != nil {
		return nil, errors.Join(fmt.Errorf("devca: %w", err), ca.Close())
	}
	return ca, nil
}

func (o *Options) complete(host string) error {
	if len(o.Names) == 0 {
		o.Names = []string{"localhost", "127.0.0.1", "::1"}
	}
	// The first name stands for the CA where only one can be said.
	others := slices.DeleteFunc(slices.Clone(o.Names), func(n string) bool { return n == host })
	o.Names = append([]string{host}, others...)
	for _, n := range o.Names {
		if n == "" || strings.ContainsAny(n, "/ @") || strings.Contains(n, ":") && net.ParseIP(n) == nil {
			return fmt.Errorf("%q is neither a DNS name nor an IP address", n)
		}
	}
	if o.Default == 0 {
		o.Default = 24 * time.Hour
	}
	if o.Min == 0 {
		o.Min = min(5*time.Minute, o.Default)
	}
	if o.Max == 0 {
		o.Max = max(7*24*time.Hour, o.Default)
	}
	if o.Min < time.Second || o.Min > o.Default || o.Default > o.Max {
		return fmt.Errorf("lifetimes min %v, default %v, max %v: they must rise from 1s on", o.Min, o.Default, o.Max)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Close gives up the folder of a CA that is not being served; [CA.Serve] does
// it by itself. Closing twice is no error.
func (ca *CA) Close() error {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if ca.lock == nil {
		return nil
	}
	err := ca.lock.Close()
	ca.lock = nil
	return err
}

// URL returns the URL clients reach the CA at, https://host:port.
func (ca *CA) URL() string { return ca.url.String() }

// Root returns the root certificate. Not to be changed.
func (ca *CA) Root() *x509.Certificate { return ca.pki.root }

// RootPEM returns the root certificate as PEM.
func (ca *CA) RootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.pki.root.Raw})
}

// Fingerprint returns the SHA-256 of the root's DER as lower-case hexadecimal.
func (ca *CA) Fingerprint() string {
	sum := sha256.Sum256(ca.pki.root.Raw)
	return hex.EncodeToString(sum[:])
}
