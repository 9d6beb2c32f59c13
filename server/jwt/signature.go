package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"math/big"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/sangate/sangate/server/keyset"
)

// algorithms are those that any key may have, with their hashes (RFC 7518, 3.1;
// RFC 8037, 3.1).
var algorithms = map[jose.SignatureAlgorithm]crypto.Hash{
	jose.RS256: crypto.SHA256, jose.RS384: crypto.SHA384, jose.RS512: crypto.SHA512,
	jose.ES256: crypto.SHA256, jose.ES384: crypto.SHA384, jose.ES512: crypto.SHA512,
	jose.EdDSA: 0, // hashes by itself
}

// signed checks the signature by the key, by an algorithm that is the key's. The
// standard library does it: whatever parses the token again could read another
// header in it than was looked at.
func signed(t *parts, key *keyset.Key) *RefusedError {
	if !slices.Contains(key.Algorithms, t.head.alg) {
		return refuse(Algorithm, "alg %s, and key %.100q is for %v", t.head.alg, key.ID, key.Algorithms)
	}
	hash := algorithms[t.head.alg]
	digest := t.signed
	if hash != 0 {
		h := hash.New()
		h.Write(t.signed)
		digest = h.Sum(nil)
	}
	ok := false
	switch public := key.Public.(type) {
	case *ecdsa.PublicKey:
		// r and s, each as long as the curve's order (RFC 7518, 3.4).
		size := (public.Curve.Params().BitSize + 7) / 8
		ok = len(t.signature) == 2*size &&
			ecdsa.Verify(public, digest, new(big.Int).SetBytes(t.signature[:size]), new(big.Int).SetBytes(t.signature[size:]))
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(public, hash, digest, t.signature) == nil
	case ed25519.PublicKey:
		ok = ed25519.Verify(public, digest, t.signature)
	}
	if !ok {
		return refuse(Signature, "by key %.100q", key.ID)
	}
	return nil
}
