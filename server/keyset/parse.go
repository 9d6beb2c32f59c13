package keyset

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-jose/go-jose/v4"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of a key set.
const (
	maxKeys   = 100
	maxID     = 256 // bytes of a kid
	minRSA    = 2048
	maxRSA    = 8192
	maxIssuer = 512
)

// A Key verifies signatures.
type Key struct {
	ID         string
	Public     crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	Algorithms []jose.SignatureAlgorithm
	Issuer     string // whose tokens it signs, where the set is several issuers'; may hold {tenantid}
}

// Keys is an immutable set of keys.
type Keys struct {
	PassedOver []string // what was no key to use, and why

	byID   map[string]*Key
	digest [sha256.Size]byte
}

// Lookup returns the key of that id, or nil. It does not allocate.
func (k *Keys) Lookup(id string) *Key {
	if k == nil {
		return nil
	}
	return k.byID[id]
}

// IDs returns the ids of all keys, sorted.
func (k *Keys) IDs() []string { return slices.Sorted(maps.Keys(k.byID)) }

// member is a JWK as far as it says what the key is for (RFC 7517, 4). The last
// five are what only private and symmetric keys have.
type member struct {
	Type   string         `json:"kty"`
	Use    *string        `json:"use"`
	Ops    []string       `json:"key_ops"`
	Alg    string         `json:"alg"`
	ID     string         `json:"kid"`
	Issuer string         `json:"issuer"`
	D      jsontext.Value `json:"d"`
	P      jsontext.Value `json:"p"`
	Q      jsontext.Value `json:"q"`
	K      jsontext.Value `json:"k"`
	Oth    jsontext.Value `json:"oth"`
}

// Parse reads a JWK Set. Keys that are not to be used are passed over; a set
// without one that can be used is an error, as is JSON with a name twice.
func Parse(data []byte) (*Keys, error) {
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := jsonv2.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("no JWK Set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%d keys, at most %d are taken", len(set.Keys), maxKeys)
	}
	k := &Keys{byID: make(map[string]*Key, len(set.Keys))}
	twice := make(map[string]bool)
	for i, raw := range set.Keys {
		key, err := parseKey(raw)
		switch {
		case err != nil:
			k.PassedOver = append(k.PassedOver, fmt.Sprintf("key %d: %s", i+1, err))
		case twice[key.ID] || k.byID[key.ID] != nil:
			k.PassedOver = append(k.PassedOver, fmt.Sprintf("kid %q stands for several keys", key.ID))
			twice[key.ID] = true
			delete(k.byID, key.ID)
		default:
			k.byID[key.ID] = key
		}
	}
	if len(k.byID) == 0 {
		return nil, fmt.Errorf("no key to verify signatures with %q", k.PassedOver)
	}
	return k, k.sum()
}

// sum makes the digest by which two sets are seen to be the same.
func (k *Keys) sum() error {
	h := sha256.New()
	for _, id := range k.IDs() {
		key := k.byID[id]
		thumb, err := (&jose.JSONWebKey{Key: key.Public}).Thumbprint(crypto.SHA256)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%q %x %q %q\n", id, thumb, key.Algorithms, key.Issuer)
	}
	h.Sum(k.digest[:0])
	return nil
}

func parseKey(raw jsontext.Value) (*Key, error) {
	var m member
	if err := jsonv2.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("no JWK: %w", err)
	}
	switch {
	case m.ID == "" || len(m.ID) > maxID:
		return nil, fmt.Errorf("a kid of 1 to %d bytes is needed", maxID)
	case m.Use != nil && *m.Use != "sig":
		return nil, fmt.Errorf("kid %q is for %.20q, not for signatures", m.ID, *m.Use)
	case m.Ops != nil && !slices.Contains(m.Ops, "verify"):
		return nil, fmt.Errorf("kid %q is not for verifying", m.ID)
	case m.Type == "oct" || m.K != nil:
		return nil, fmt.Errorf("kid %q is symmetric", m.ID)
	case m.D != nil || m.P != nil || m.Q != nil || m.Oth != nil:
		return nil, fmt.Errorf("kid %q is a private key that somebody published; take it out of use", m.ID)
	case len(m.Issuer) > maxIssuer:
		return nil, fmt.Errorf("kid %q has an issuer of %d bytes", m.ID, len(m.Issuer))
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(raw); err != nil {
		return nil, fmt.Errorf("kid %q: %w", m.ID, err)
	}
	algorithms, err := algorithmsOf(jwk.Key)
	if err == nil && m.Alg != "" {
		algorithms, err = only(algorithms, m.Alg)
	}
	if err != nil {
		return nil, fmt.Errorf("kid %q: %w", m.ID, err)
	}
	return &Key{ID: m.ID, Public: jwk.Key, Algorithms: algorithms, Issuer: m.Issuer}, nil
}

// algorithmsOf returns what a key of that kind and size may sign with. RSASSA-PSS
// is not offered: its salt is left open in every Go library, so signatures pass
// that RFC 7518, 3.5 does not allow.
func algorithmsOf(public any) ([]jose.SignatureAlgorithm, error) {
	switch key := public.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
			return nil, fmt.Errorf("an RSA key of %d bits; %d to %d are taken", bits, minRSA, maxRSA)
		}
		if key.E < 3 || key.E%2 == 0 {
			return nil, fmt.Errorf("an RSA key with exponent %d", key.E)
		}
		return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512}, nil
	case *ecdsa.PublicKey:
		switch key.Curve.Params().BitSize {
		case 256:
			return []jose.SignatureAlgorithm{jose.ES256}, nil
		case 384:
			return []jose.SignatureAlgorithm{jose.ES384}, nil
		case 521:
			return []jose.SignatureAlgorithm{jose.ES512}, nil
		}
	case ed25519.PublicKey:
		return []jose.SignatureAlgorithm{jose.EdDSA}, nil
	}
	return nil, errors.New("a kind of key that is not taken")
}

// only narrows to the algorithm that the key says it is for. Ed25519 is the name
// of RFC 9864 for what RFC 8037 calls EdDSA.
func only(can []jose.SignatureAlgorithm, alg string) ([]jose.SignatureAlgorithm, error) {
	if alg == "Ed25519" {
		alg = string(jose.EdDSA)
	}
	if !slices.Contains(can, jose.SignatureAlgorithm(alg)) {
		return nil, fmt.Errorf("alg %.20q, which is not taken for this kind of key", alg)
	}
	return []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)}, nil
}
