//go:build cgo

package credential_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.step.sm/crypto/kms/apiv1"
	_ "go.step.sm/crypto/kms/pkcs11"

	"github.com/sangate/sangate/pki/kms"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/store"
)

// The key encryption key stays in a PKCS #11 token.
func TestKEKInSoftHSM(t *testing.T) {
	const module, pin = "/usr/lib/softhsm/libsofthsm2.so", "271828" // Debian's softhsm2
	if _, err := os.Stat(module); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("Debian's softhsm2 is not installed")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+dir+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	if out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", "kek", "--pin", pin, "--so-pin", pin).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ref := fmt.Sprintf("pkcs11:module-path=%s;token=kek;id=20;object=kek?pin-value=%s", module, pin)
	made, err := kms.OpenOrCreate(t.Context(), ref, apiv1.SHA256WithRSA, 2048)
	if err != nil {
		t.Fatal(err)
	}
	made.Close()
	s, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var log bytes.Buffer
	open := func() *credential.Vault { return credential.New(s, ref, slog.New(slog.NewTextHandler(&log, nil))) }
	if _, _, err := open().Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := add(t, open(), &credential.Secret{Name: "a", Type: credential.APIKey, Value: "one"})
	if got := resolved(t, open(), id); got != "one" {
		t.Errorf("resolved %q", got)
	}
	keys, err := s.CredentialKeys(t.Context())
	if err != nil || strings.Contains(keys.KEK+log.String(), pin) {
		t.Errorf("the PIN is shown: %s %s, %v", keys.KEK, log.String(), err)
	}
}
