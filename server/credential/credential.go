// Package credential keeps the secrets that the gate shows to what stands behind
// it: encrypted in the state store, in a folder of files, or at a remote service.
//
// In the store each secret is sealed by a key that is not there, and bound to
// its row, version, tenant, name and use: a ciphertext that was moved does not open. A
// secret is looked up when it is needed and held no longer than that.
//
// It refuses to print a secret: [Secret] shows itself as what it is, never as
// what it says.
package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"golang.org/x/net/http/httpguts"
)

// A Type is what a secret is used as.
type Type string

// The types of the contract, section 6.
const (
	APIKey Type = "ApiKey" // Authorization: Bearer, or a header of its own
	Basic  Type = "Basic"  // user:password
	OAuth2 Type = "OAuth2" // the client of a client credentials grant, as JSON
)

// Bounds on what is kept.
const (
	maxValue = 16 << 10 // bytes
	maxText  = 1024
)

// Errors that callers tell apart.
var (
	// ErrCredentialNotFound reports an id or a name that nobody knows.
	ErrCredentialNotFound = errors.New("no such credential")
	// ErrUnavailable reports that nobody can say now.
	ErrUnavailable = errors.New("credentials cannot be read now")
)

// A Ref names a credential: by id, or by name where the id is 0.
type Ref struct {
	ID     int64
	Tenant string // whose name it is; "" is nobody's in particular
	Name   string
}

func (r Ref) String() string {
	switch {
	case r.ID != 0:
		return fmt.Sprintf("credential %d", r.ID)
	case r.Tenant != "":
		return fmt.Sprintf("credential %q of tenant %s", r.Name, r.Tenant)
	}
	return fmt.Sprintf("credential %q", r.Name)
}

// A Resolver looks secrets up. Safe for concurrent use. Its errors wrap
// [ErrCredentialNotFound] or [ErrUnavailable] where they say that.
type Resolver interface {
	Resolve(ctx context.Context, ref Ref) (*Secret, error)
}

// Passwords is how an Octopus agent asks for a secret: its value, by id. Every
// resolver here is one.
type Passwords interface {
	GetPassword(ctx context.Context, id int64) (string, error)
}

var _ = []Passwords{(*Vault)(nil), Files{}, (*Remote)(nil), Chain(nil)}

// GetPassword is [Passwords] for the vault.
func (v *Vault) GetPassword(ctx context.Context, id int64) (string, error) {
	return GetPassword(ctx, v, id)
}

// GetPassword is [Passwords] for a folder.
func (f Files) GetPassword(ctx context.Context, id int64) (string, error) {
	return GetPassword(ctx, f, id)
}

// GetPassword is [Passwords] for a remote service.
func (r *Remote) GetPassword(ctx context.Context, id int64) (string, error) {
	return GetPassword(ctx, r, id)
}

// GetPassword is [Passwords] for several.
func (c Chain) GetPassword(ctx context.Context, id int64) (string, error) {
	return GetPassword(ctx, c, id)
}

// GetPassword returns the value of the credential of that id.
func GetPassword(ctx context.Context, r Resolver, id int64) (string, error) {
	s, err := r.Resolve(ctx, Ref{ID: id})
	if err != nil {
		return "", err
	}
	return s.Value, nil
}

// A Secret is a credential with its value.
type Secret struct {
	ID      int64  // 0: it has none
	Tenant  string // that alone may use it; "": any
	Name    string
	Type    Type
	Header  string // that an ApiKey goes into; "": Authorization, as Bearer
	Value   string
	Version int64
}

// String tells which secret it is, not what it says.
func (s *Secret) String() string {
	if s == nil {
		return "no credential"
	}
	return fmt.Sprintf("%s %s (version %d)", s.Type, Ref{ID: s.ID, Tenant: s.Tenant, Name: s.Name}, s.Version)
}

// Format keeps every verb from the value.
func (s *Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue keeps the log from the value.
func (s *Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON refuses.
func (s *Secret) MarshalJSON() ([]byte, error) { return nil, errors.New("a secret is not written") }

// A Client is the value of an OAuth2 credential (RFC 6749, section 4.4).
type Client struct {
	TokenURL     string   `json:"tokenUrl"`
	ClientID     string   `json:"clientId"`
	ClientSecret string   `json:"clientSecret"`
	Scopes       []string `json:"scopes,omitempty"`
	Audience     string   `json:"audience,omitempty"` // sent along, where the server wants one
}

// oauth reads the value of an OAuth2 credential. Its error repeats nothing of it.
func (s *Secret) oauth() (*Client, error) {
	var c Client
	if err := jsonv2.Unmarshal([]byte(s.Value), &c, jsonv2.RejectUnknownMembers(true)); err != nil {
		return nil, errors.New(`the value of an OAuth2 credential is {"tokenUrl":"https://…","clientId":"…","clientSecret":"…","scopes":["…"]}`)
	}
	u, err := url.Parse(c.TokenURL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http"):
		return nil, errors.New("tokenUrl is no http(s) URL")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, errors.New("tokenUrl is plain http; that is for loopback only")
	case c.ClientID == "" || c.ClientSecret == "":
		return nil, errors.New("clientId and clientSecret are needed")
	}
	return &c, nil
}

func loopback(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// Check reports what keeps the secret from being used. Its error repeats nothing
// of the value.
func (s *Secret) Check() error {
	if err := checkName(s.Name, s.Tenant); err != nil {
		return err
	}
	return s.checkValue()
}

func (s *Secret) checkValue() error {
	switch {
	case s.Value == "":
		return errors.New("the value is empty")
	case len(s.Value) > maxValue:
		return fmt.Errorf("the value is longer than %d bytes", maxValue)
	case s.Type != APIKey && s.Header != "":
		return errors.New("header goes with type ApiKey")
	case s.Header != "" && (!headerName.MatchString(s.Header) || forbiddenHeader(s.Header)):
		return fmt.Errorf("header %q: use the name of a header that carries a key, such as X-Api-Key", s.Header)
	}
	switch s.Type {
	case APIKey:
		if !httpguts.ValidHeaderFieldValue(s.Value) || strings.TrimSpace(s.Value) != s.Value {
			return errors.New("the value cannot stand in a header: it has line breaks, control characters or spaces around it")
		}
	case Basic:
		user, _, ok := strings.Cut(s.Value, ":")
		if !ok || user == "" || !utf8.ValidString(s.Value) || strings.ContainsFunc(s.Value, unicode.IsControl) {
			return errors.New("the value of a Basic credential is user:password")
		}
	case OAuth2:
		_, err := s.oauth()
		return err
	default:
		return fmt.Errorf("type %q: use ApiKey, Basic or OAuth2", s.Type)
	}
	return nil
}

// forbiddenHeader are those that change what the request is.
func forbiddenHeader(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Host", "Connection", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Expect", "Cookie", "Proxy-Authorization":
		return true
	}
	return false
}

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)

func checkName(name, tenant string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("name %q: use letters, digits, '_', '.' and '-', at most 128", name)
	}
	if tenant != "" && !validTenant.MatchString(tenant) {
		return fmt.Errorf("tenant %q is no id of a tenant", tenant)
	}
	return nil
}

var validTenant = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

var _ json.Marshaler = (*Secret)(nil)
