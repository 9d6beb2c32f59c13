package mcp

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/sangate/sangate/server/auth"
)

// stateLife is how long a caller may take to answer what a tool asks.
const stateLife = time.Hour

// A sealer makes the state that goes to a caller and comes back unreadable, and
// good for that caller and that tool alone (SEP-2322 wants its integrity kept).
type sealer struct {
	aead cipher.AEAD // its key is of this process, as that of sessions
	now  func() time.Time
}

func newSealer(now func() time.Time) sealer {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key has the right size
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return sealer{aead, now}
}

// bound is what a state is good for.
func bound(ctx context.Context, method, name string) []byte {
	return []byte(method + "\x00" + name + "\x00" + owner(auth.DecisionFrom(ctx)))
}

func (s sealer) seal(ctx context.Context, method, name, state string) string {
	plain := binary.BigEndian.AppendUint64(nil, uint64(s.now().Add(stateLife).Unix()))
	sealed := s.aead.Seal(nil, nil, append(plain, state...), bound(ctx, method, name))
	return base64.RawURLEncoding.EncodeToString(sealed)
}

func (s sealer) open(ctx context.Context, method, name, sealed string) (state string, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil {
		return "", false
	}
	plain, err := s.aead.Open(nil, nil, raw, bound(ctx, method, name))
	if err != nil || len(plain) < 8 || s.now().Unix() > int64(binary.BigEndian.Uint64(plain)) {
		return "", false
	}
	return string(plain[8:]), true
}
