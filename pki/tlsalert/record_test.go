package tlsalert

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestKeysOfRFC8448 derives the server's application keys of RFC 8448, section 3.
func TestKeysOfRFC8448(t *testing.T) {
	secret := unhex(t, "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643")
	key, err := expandLabel(sha256.New, secret, "key", 16)
	if err != nil || !bytes.Equal(key, unhex(t, "9f02283b6c9c07efc26bb9f2ac92e356")) {
		t.Errorf("key %x, %v", key, err)
	}
	_, iv, err := keysOf(tls.TLS_AES_128_GCM_SHA256, secret)
	if err != nil || !bytes.Equal(iv, unhex(t, "cf782b88dd83549aadf1e984")) {
		t.Errorf("iv %x, %v", iv, err)
	}
}

// TestNoRecord: without a secret, and for versions and suites that are not known,
// there is no record.
func TestNoRecord(t *testing.T) {
	secret := make([]byte, 32)
	for _, tt := range []struct {
		version, suite uint16
		secret         []byte
	}{
		{tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256, nil},
		{tls.VersionTLS13, 0x1304, secret},
		{tls.VersionTLS11, tls.TLS_RSA_WITH_AES_128_CBC_SHA, secret},
	} {
		if got, err := recordOf(tt.version, tt.suite, tt.secret, unknownCA); err == nil {
			t.Errorf("version %x, suite %x: record %x", tt.version, tt.suite, got)
		}
	}
}
