package jwt_test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/jwt"
)

// BenchmarkVerify sets a token that is verified beside the bare check of its
// signature, and beside its second use.
func BenchmarkVerify(b *testing.B) {
	key, now := newKey(b), time.Now()
	set := keys(b, jwk(b, "k1", &key.PublicKey, nil))
	head, claims := good(now)
	token := compact(b, key, head, claims)
	b.Run("bare ES256", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !bare(&key.PublicKey, token) {
				b.Fatal("bad signature")
			}
		}
	})
	b.Run("cold ES256", func(b *testing.B) {
		b.ReportAllocs()
		tokens := make([]string, 500)
		for i := range tokens {
			tokens[i] = compact(b, key, head, claims.with(m{"jti": i}))
		}
		v, n := jwt.NewVerifier([]*jwt.Issuer{issuer(set)}), 0
		for b.Loop() {
			if n++; n == len(tokens) {
				v, n = jwt.NewVerifier([]*jwt.Issuer{issuer(set)}), 0
			}
			if _, err := v.Verify(tokens[n], now); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("second use", func(b *testing.B) {
		b.ReportAllocs()
		v := jwt.NewVerifier([]*jwt.Issuer{issuer(set)})
		for b.Loop() {
			if _, err := v.Verify(token, now); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// bare checks the signature of a token and nothing else.
func bare(key *ecdsa.PublicKey, token string) bool {
	i := strings.LastIndexByte(token, '.')
	sig, err := b64.DecodeString(token[i+1:])
	sum := sha256.Sum256([]byte(token[:i]))
	return err == nil && len(sig) == 64 && ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
}
