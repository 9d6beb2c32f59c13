package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// A client may ask for tokens.
type client struct {
	ID       string         `json:"id"`
	Secret   string         `json:"secret"`
	Audience []string       `json:"audience"`
	Claims   map[string]any `json:"claims"` // that its tokens have beside
}

// storage is what zitadel/oidc keeps its state in. What it does not have, client
// credentials do not need.
type storage struct {
	op.Storage
	clients  map[string]client
	lifetime time.Duration

	mu   sync.Mutex
	keys []*signingKey // the last one signs
}

func newStorage(clients []client, lifetime time.Duration) *storage {
	s := &storage{clients: make(map[string]client), lifetime: lifetime}
	for _, c := range clients {
		s.clients[c.ID] = c
	}
	return s
}

// roll makes a key, which signs from now on; the others stay published.
func (s *storage) roll() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, &signingKey{"key-" + rand.Text()[:8], key})
	return nil
}

// forget publishes the key that signs only.
func (s *storage) forget() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = s.keys[len(s.keys)-1:]
	return nil
}

// A signingKey is op.SigningKey; published, it is op.Key.
type signingKey struct {
	id  string
	key *ecdsa.PrivateKey
}

func (k *signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k *signingKey) Key() any                                    { return k.key }
func (k *signingKey) ID() string                                  { return k.id }

type publicKey struct{ *signingKey }

func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                           { return &k.key.PublicKey }

func (s *storage) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[len(s.keys)-1], nil
}

func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

func (s *storage) KeySet(context.Context) ([]op.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]op.Key, len(s.keys))
	for i, k := range s.keys {
		out[i] = publicKey{k}
	}
	return out, nil
}

func (s *storage) Health(context.Context) error { return nil }

func (s *storage) ClientCredentials(_ context.Context, id, secret string) (op.Client, error) {
	c, ok := s.clients[id]
	if !ok || subtle.ConstantTimeCompare([]byte(c.Secret), []byte(secret)) != 1 {
		return nil, errors.New("no such client, or another secret")
	}
	return opClient{id: id}, nil
}

func (s *storage) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	return tokenRequest{s.clients[id], scopes}, nil
}

func (s *storage) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
	return rand.Text(), time.Now().Add(s.lifetime), nil
}

// GetPrivateClaimsFromRequest binds the token to the certificate that was shown
// (RFC 8705, 3), if one was.
func (s *storage) GetPrivateClaimsFromRequest(ctx context.Context, r op.TokenRequest, _ []string) (map[string]any, error) {
	out := map[string]any{"scope": strings.Join(r.GetScopes(), " ")}
	maps.Copy(out, r.(tokenRequest).client.Claims)
	if thumbprint, ok := ctx.Value(thumbprintKey{}).(string); ok {
		out["cnf"] = map[string]string{"x5t#S256": thumbprint}
	}
	return out, nil
}

type tokenRequest struct {
	client client
	scopes []string
}

func (r tokenRequest) GetSubject() string    { return r.client.ID }
func (r tokenRequest) GetAudience() []string { return r.client.Audience }
func (r tokenRequest) GetScopes() []string   { return r.scopes }

// opClient is a client as op wants it; what is not here is not asked.
type opClient struct {
	op.Client
	id string
}

func (c opClient) GetID() string { return c.id }
func (c opClient) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeClientCredentials}
}
func (c opClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }
func (c opClient) ClockSkew() time.Duration            { return 0 }
func (c opClient) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}

type thumbprintKey struct{}

// withClientCert notes which certificate a token is asked for with.
func withClientCert(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if certs := r.TLS.PeerCertificates; len(certs) > 0 {
			sum := sha256.Sum256(certs[0].Raw)
			r = r.WithContext(context.WithValue(r.Context(), thumbprintKey{}, base64.RawURLEncoding.EncodeToString(sum[:])))
		}
		next.ServeHTTP(w, r)
	})
}

// tlsConfig takes any certificate: possession is all that a thumbprint says.
func tlsConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert}
}
