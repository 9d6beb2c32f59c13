// Package apikey makes, reads and finds API keys.
//
// A key is `sgk_<11 base62 id>_<43 base62 secret><6 base62 CRC-32>`, 65
// characters. The id finds it, the secret of 256 bits proves it, the checksum
// lets a secret scanner tell a real key from a look-alike. Only the SHA-256 of
// the whole key is kept: slow hashes add nothing to 256 random bits.
//
// A [Ring] is an immutable set of keys. Known and unknown ids take one path
// through it, with one constant-time comparison each.
package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"math/big"
)

const (
	prefix    = "sgk_"
	idLen     = 11
	secretLen = 43
	crcLen    = 6
	keyLen    = len(prefix) + idLen + 1 + secretLen + crcLen
	alphabet  = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// Mint makes a new key. The key is a secret: it is shown once and never stored.
func Mint() (key, id string, err error) {
	id, err = random(idLen)
	if err != nil {
		return "", "", err
	}
	secret, err := randomBytes32()
	if err != nil {
		return "", "", err
	}
	body := prefix + id + "_" + secret
	return body + checksum(body), id, nil
}

// Parse returns the id of a key in sangate's own form whose checksum is right.
// It says nothing of whether the key is known. Does not allocate.
func Parse(key string) (id string, ok bool) {
	if len(key) != keyLen || key[:len(prefix)] != prefix || key[len(prefix)+idLen] != '_' {
		return "", false
	}
	for i := len(prefix); i < keyLen; i++ {
		c := key[i]
		alnum := c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !alnum && i != len(prefix)+idLen {
			return "", false
		}
	}
	if !checks(key[:keyLen-crcLen], key[keyLen-crcLen:]) {
		return "", false
	}
	return key[len(prefix) : len(prefix)+idLen], true
}

// idOf is where the id stands in a key, whether or not it is one.
func idOf(key string) string {
	if len(key) != keyLen {
		return ""
	}
	return key[len(prefix) : len(prefix)+idLen]
}

// Digest is the SHA-256 of a key, which is all that is stored of it.
func Digest(key string) [sha256.Size]byte {
	var buf [128]byte // on the stack: a conversion of more than 32 bytes is not
	return sha256.Sum256(append(buf[:0], key...))
}

func checks(body, sum string) bool {
	n := crcOf(body)
	for i := crcLen - 1; i >= 0; i-- {
		if sum[i] != alphabet[n%62] {
			return false
		}
		n /= 62
	}
	return n == 0
}

func checksum(body string) string {
	n := crcOf(body)
	out := make([]byte, crcLen)
	for i := crcLen - 1; i >= 0; i-- {
		out[i] = alphabet[n%62]
		n /= 62
	}
	return string(out)
}

// crcOf is crc32.ChecksumIEEE, which takes bytes and lets them escape.
func crcOf(s string) uint32 {
	crc := ^uint32(0)
	for i := range len(s) {
		crc = crc32.IEEETable[byte(crc)^s[i]] ^ crc>>8
	}
	return ^crc
}

// randomBytes32 returns 32 random bytes in base 62: 43 digits hold 256 bits.
func randomBytes32() (string, error) {
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("reading random bytes: %w", err)
	}
	n := new(big.Int).SetBytes(b[:])
	base, digit := big.NewInt(62), new(big.Int)
	out := make([]byte, secretLen)
	for i := secretLen - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		out[i] = alphabet[digit.Int64()]
	}
	return string(out), nil
}

func random(n int) (string, error) {
	out := make([]byte, n)
	for i := range out {
		d, err := rand.Int(rand.Reader, big.NewInt(62))
		if err != nil {
			return "", fmt.Errorf("reading random bytes: %w", err)
		}
		out[i] = alphabet[d.Int64()]
	}
	return string(out), nil
}
