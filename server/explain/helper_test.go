package explain_test

import (
	"crypto/sha256"
	"encoding/base64"
	"os"
	"testing"

	"github.com/sangate/sangate/pki/pkitest"
)

func confirm(c *pkitest.Cert) map[string]string {
	sum := sha256.Sum256(c.Leaf.Raw)
	return map[string]string{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
