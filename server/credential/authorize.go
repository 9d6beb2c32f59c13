package credential

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// An Authorizer puts secrets into requests. It holds the access tokens that OAuth2
// credentials were exchanged for, until they end. Safe for concurrent use.
type Authorizer struct {
	client *http.Client // for token endpoints
	now    func() time.Time

	mu     sync.Mutex
	tokens map[[32]byte]*grant
}

// A grant is one access token, asked for by one at a time.
type grant struct {
	mu    sync.Mutex
	token *oauth2.Token
}

// maxTokens bounds how many access tokens are held.
const maxTokens = 10_000

// early is how long before its end a token is no longer used.
const early = 10 * time.Second

// NewAuthorizer makes one that asks token endpoints through client.
func NewAuthorizer(client *http.Client, now func() time.Time) *Authorizer {
	return &Authorizer{client: client, now: now, tokens: make(map[[32]byte]*grant)}
}

// Authorize sets what the secret stands for in h, in the place of what is there.
// Its error repeats nothing of the secret.
func (a *Authorizer) Authorize(ctx context.Context, s *Secret, h http.Header) error {
	switch s.Type {
	case APIKey:
		if s.Header != "" {
			h.Set(s.Header, s.Value)
			return nil
		}
		h.Set("Authorization", "Bearer "+s.Value)
		return nil
	case Basic:
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(s.Value)))
		return nil
	case OAuth2:
		token, err := a.token(ctx, s)
		if err != nil {
			return err
		}
		h.Set("Authorization", "Bearer "+token)
		return nil
	}
	return fmt.Errorf("%s has no type that can be used", s)
}

// Forget has the next use of the secret ask for another access token.
func (a *Authorizer) Forget(s *Secret) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.tokens, sha256.Sum256([]byte(s.Value)))
}

func (a *Authorizer) token(ctx context.Context, s *Secret) (string, error) {
	// By the value, so that a rotated secret never uses the token of the one before.
	key := sha256.Sum256([]byte(s.Value))
	a.mu.Lock()
	g := a.tokens[key]
	if g == nil {
		if len(a.tokens) >= maxTokens {
			clear(a.tokens) // they are asked for anew
		}
		g = new(grant)
		a.tokens[key] = g
	}
	a.mu.Unlock()

	g.mu.Lock()
	defer g.mu.Unlock()
	if g.token != nil && (g.token.Expiry.IsZero() || a.now().Add(early).Before(g.token.Expiry)) {
		return g.token.AccessToken, nil
	}
	c, err := s.oauth()
	if err != nil {
		return "", fmt.Errorf("%s: %w", s, err)
	}
	config := clientcredentials.Config{ClientID: c.ClientID, ClientSecret: c.ClientSecret, TokenURL: c.TokenURL, Scopes: c.Scopes}
	if c.Audience != "" {
		config.EndpointParams = url.Values{"audience": {c.Audience}}
	}
	token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, a.client))
	if err != nil {
		return "", fmt.Errorf("%s: no access token: %w", s, plain(err))
	}
	g.token = token
	return token.AccessToken, nil
}

// quoted is text that an error quotes, such as the beginning of an answer that is not HTTP.
var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// unquoted returns the text of err without what it quotes: from a peer whose answers are secrets, that may be one.
func unquoted(err error) string { return quoted.ReplaceAllString(err.Error(), `"…"`) }

// A quotedError hides the text of an error, not what it is.
type quotedError struct {
	text string
	err  error
}

func (e *quotedError) Error() string        { return e.text }
func (e *quotedError) Is(target error) bool { return errors.Is(e.err, target) }

// plain is an error of a token endpoint without what it sent: that may hold
// anything.
func plain(err error) error {
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		code := ""
		switch refused.ErrorCode { // RFC 6749, section 5.2
		case "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope":
			code = ": " + refused.ErrorCode
		}
		return fmt.Errorf("the token endpoint answered %d%s", refused.Response.StatusCode, code)
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		shown, _, _ := strings.Cut(failed.URL, "?")
		return &quotedError{fmt.Sprintf("%s %q: %s", failed.Op, shown, unquoted(failed.Err)), failed}
	}
	return errors.New("the token endpoint's answer holds none")
}
