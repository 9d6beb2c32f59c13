package tlsalert

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// Values of RFC 8446, 5.1 and 6.
const (
	alertRecord       = 21
	applicationRecord = 23
	fatal             = 2
)

var errNoRecord = errors.New("no alert for this version, cipher suite or mode")

// serverTraffic is the label of the secret by which the server sends after its
// Finished.
var serverTraffic = []byte("SERVER_TRAFFIC_SECRET_0 ")

// keyLog keeps the one secret of a handshake that an alert is encrypted by, in memory
// until the certificate is judged.
type keyLog Sender

// Write implements io.Writer for tls.Config.KeyLogWriter.
func (k *keyLog) Write(line []byte) (int, error) {
	if fields := bytes.Fields(line); bytes.HasPrefix(line, serverTraffic) && len(fields) == 3 {
		k.secret = make([]byte, hex.DecodedLen(len(fields[2])))
		if _, err := hex.Decode(k.secret, fields[2]); err != nil {
			k.secret = nil
		}
	}
	return len(line), nil
}

// recordOf returns the record of a fatal alert that answers the client's first
// certificate. In TLS 1.3 it is the first one that the server encrypts by its
// application traffic secret, in TLS 1.2 the server does not encrypt yet.
func recordOf(version, suite uint16, secret []byte, code byte) ([]byte, error) {
	switch version {
	case tls.VersionTLS12:
		return []byte{alertRecord, 3, 3, 0, 2, fatal, code}, nil
	case tls.VersionTLS13:
	default:
		return nil, errNoRecord
	}
	aead, iv, err := keysOf(suite, secret)
	if err != nil {
		return nil, err
	}
	inner := []byte{fatal, code, alertRecord}
	header := []byte{applicationRecord, 3, 3, 0, byte(len(inner) + aead.Overhead())}
	return aead.Seal(header, iv, inner, header), nil // the record's number is 0, so the nonce is iv
}

// keysOf derives key and IV of a traffic secret (RFC 8446, 7.3).
func keysOf(suite uint16, secret []byte) (aead cipher.AEAD, iv []byte, err error) {
	if len(secret) == 0 {
		return nil, nil, errNoRecord
	}
	var newHash func() hash.Hash = sha256.New
	keyLen, newAEAD := 32, chacha20poly1305.New
	switch suite {
	case tls.TLS_AES_128_GCM_SHA256:
		keyLen, newAEAD = 16, newGCM
	case tls.TLS_AES_256_GCM_SHA384:
		newHash, newAEAD = sha512.New384, newGCM
	case tls.TLS_CHACHA20_POLY1305_SHA256:
	default:
		return nil, nil, errNoRecord
	}
	key, err := expandLabel(newHash, secret, "key", keyLen)
	if err != nil {
		return nil, nil, err
	}
	if aead, err = newAEAD(key); err != nil {
		return nil, nil, err
	}
	iv, err = expandLabel(newHash, secret, "iv", aead.NonceSize())
	return aead, iv, err
}

// newGCM fails in FIPS 140-only mode, which allows no nonce of ours.
func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// expandLabel is HKDF-Expand-Label with an empty context (RFC 8446, 7.1).
func expandLabel(newHash func() hash.Hash, secret []byte, label string, length int) ([]byte, error) {
	label = "tls13 " + label
	info := append([]byte{byte(length >> 8), byte(length), byte(len(label))}, label...)
	return hkdf.Expand(newHash, secret, string(append(info, 0)), length)
}
