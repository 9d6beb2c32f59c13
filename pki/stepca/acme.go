package stepca

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/smallstep/certificates/api"
	"go.step.sm/crypto/pemutil"
	"go.step.sm/crypto/x509util"
	"golang.org/x/crypto/acme"

	"github.com/sangate/sangate/pki/stepca/atomicfile"
)

// acmeTimeout bounds an order as a whole.
const acmeTimeout = 45 * time.Second

// ACME enrols with an ACME provisioner (RFC 8555), by http-01 or, as RFC 8737,
// tls-alpn-01. Names can be DNS names and IP addresses (RFC 8738) alone. It
// listens only while an order is under way. Renewals need none of this.
type ACME struct {
	Client      *Client
	Provisioner string
	AccountFile string // the account's key, made where there is none; 0600
	Contact     string // e-mail address of a person, may be empty

	HTTP string // address to answer http-01 on; step-ca asks at port 80
	TLS  string // address to answer tls-alpn-01 on; step-ca asks at port 443

	Logger *slog.Logger // for panics while challenges are answered; nil: silent
}

// Enrol proves control of each name and gets a certificate for all of them. A
// challenge the authority could not verify is a [*StatusError].
func (a ACME) Enrol(ctx context.Context, req Request) (*Pair, error) {
	ctx, cancel := context.WithTimeout(ctx, acmeTimeout)
	defer cancel()
	pair, err := a.enrol(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("stepca: acme: %w", plain(err))
	}
	return pair, nil
}

func (a ACME) enrol(ctx context.Context, req Request) (*Pair, error) {
	if req.Subject == "" && len(req.SANs) == 0 {
		return nil, errNoName
	}
	req, err := req.complete("")
	if err != nil {
		return nil, err
	}
	ids, err := identifiers(req.SANs)
	if err != nil {
		return nil, err
	}
	anchors, err := a.Client.Anchors(ctx)
	if err != nil {
		return nil, err
	}
	account, err := a.account(ctx, anchors)
	if err != nil {
		return nil, err
	}
	order, err := a.prove(ctx, account, ids, req.Lifetime)
	if err != nil {
		return nil, err
	}
	key, err := req.signer()
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	// No common name: it would have to be one of the identifiers.
	csr, err := x509util.CreateCertificateRequest("", req.SANs, key)
	if err != nil {
		return nil, err
	}
	ders, _, err := account.CreateOrderCert(ctx, order.FinalizeURL, csr.Raw, true)
	if err != nil {
		return nil, err
	}
	var resp api.SignResponse
	for _, der := range ders {
		crt, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrVet, err)
		}
		resp.CertChainPEM = append(resp.CertChainPEM, api.NewCertificate(crt))
	}
	return wanted{key: key, names: requested(csr), roots: anchors, now: a.Client.now()}.take(&resp)
}

// identifiers turns names into what ACME calls them.
func identifiers(sans []string) ([]acme.AuthzID, error) {
	dns, ips, emails, uris := x509util.SplitSANs(sans)
	if len(emails)+len(uris) > 0 {
		return nil, errors.New("only DNS names and IP addresses can be proved by ACME; use another provisioner for URIs and e-mail addresses")
	}
	ids := acme.DomainIDs(dns...)
	for _, ip := range ips {
		ids = append(ids, acme.IPIDs(ip.String())...)
	}
	return ids, nil
}

// account registers the kept key, or finds it registered.
func (a ACME) account(ctx context.Context, anchors []*x509.Certificate) (*acme.Client, error) {
	key, err := a.accountKey()
	if err != nil {
		return nil, fmt.Errorf("account key %s: %w", a.AccountFile, err)
	}
	client := &acme.Client{
		Key:          key,
		DirectoryURL: a.Client.url.JoinPath("acme", a.Provisioner, "directory").String(),
		UserAgent:    "sangate",
		HTTPClient: &http.Client{
			Transport:     sameHost{a.Client.url.Host, newTransport(pool(anchors), nil)},
			Timeout:       a.Client.timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		RetryBackoff: func(n int, _ *http.Request, _ *http.Response) time.Duration {
			if n > 3 {
				return 0
			}
			return time.Duration(n) * time.Second
		},
	}
	account := new(acme.Account)
	if a.Contact != "" {
		account.Contact = []string{"mailto:" + a.Contact}
	}
	if _, err := client.Register(ctx, account, acme.AcceptTOS); err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return nil, fmt.Errorf("account: %w", err)
	}
	return client, nil
}

func (a ACME) accountKey() (crypto.Signer, error) {
	key, err := readKey(a.AccountFile)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = ECP256.generate(); err != nil {
		return nil, err
	}
	block, err := pemutil.Serialize(key, pemutil.WithPKCS8(true))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(a.AccountFile), 0o700); err != nil {
		return nil, err
	}
	return key, atomicfile.Write(a.AccountFile, pem.EncodeToMemory(block), 0o600)
}

// prove makes an order and answers its challenges.
func (a ACME) prove(ctx context.Context, account *acme.Client, ids []acme.AuthzID, lifetime time.Duration) (*acme.Order, error) {
	answers, stop, err := a.listen(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	var opts []acme.OrderOption
	if lifetime > 0 {
		opts = append(opts, acme.WithOrderNotAfter(a.Client.now().Add(lifetime)))
	}
	order, err := account.AuthorizeOrder(ctx, ids, opts...)
	if err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	if len(order.AuthzURLs) > len(ids) {
		return nil, fmt.Errorf("%d authorizations for %d names", len(order.AuthzURLs), len(ids))
	}
	for _, url := range order.AuthzURLs {
		if err := a.authorize(ctx, account, answers, url); err != nil {
			return nil, err
		}
	}
	return account.WaitOrder(ctx, order.URI)
}

func (a ACME) authorize(ctx context.Context, account *acme.Client, answers *answers, url string) error {
	authz, err := account.GetAuthorization(ctx, url)
	if err != nil {
		return err
	}
	if authz.Status == acme.StatusValid {
		return nil
	}
	name := oneLine(authz.Identifier.Value)
	challenge, err := answers.add(account, authz)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	done, err := account.Accept(ctx, challenge)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", name, challenge.Type, err)
	}
	// step-ca looks at once, and leaves a failed challenge pending.
	if done.Error != nil {
		return fmt.Errorf("%s: the authority could not verify the answer to %s: %w", name, challenge.Type, done.Error)
	}
	if _, err := account.WaitAuthorization(ctx, url); err != nil {
		return fmt.Errorf("%s: %s: %w", name, challenge.Type, err)
	}
	return nil
}

// plain puts what ACME says into this package's words, on one line.
func plain(err error) error {
	if refused, ok := errors.AsType[*acme.Error](err); ok {
		status := refused.StatusCode
		if status == 0 {
			status = http.StatusForbidden // inside a challenge there is none
		}
		return &StatusError{Status: status, Message: oneLine(strings.Replace(err.Error(), refused.Error(), refused.Detail, 1))}
	}
	_, authz := errors.AsType[*acme.AuthorizationError](err)
	if _, order := errors.AsType[*acme.OrderError](err); authz || order {
		return errors.New(oneLine(err.Error()))
	}
	return err
}

// sameHost keeps a directory from sending us elsewhere, and bounds answers.
type sameHost struct {
	host string
	next http.RoundTripper
}

func (s sameHost) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || r.URL.Host != s.host {
		return nil, fmt.Errorf("the authority's ACME directory names another host, %s", oneLine(r.URL.Host))
	}
	resp, err := s.next.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}
