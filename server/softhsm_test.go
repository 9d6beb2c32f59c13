//go:build cgo

package server_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "go.step.sm/crypto/kms/pkcs11"

	"github.com/sangate/sangate/pki/stepca/steptest"
)

const hsmModule = "/usr/lib/softhsm/libsofthsm2.so" // Debian's softhsm2

// The key of an enrolled certificate is made and stays in a PKCS #11 token: the
// certificate is renewed for it, no key is in the state folder, no PIN in the log.
func TestKeyInSoftHSM(t *testing.T) {
	if _, err := os.Stat(hsmModule); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("Debian's softhsm2 is not installed")
	}
	const pin = "271828"
	ca := steptest.Start(t, steptest.Options{Min: time.Second, Default: 6 * time.Second})
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+tokens+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	t.Setenv("GATE_PIN", pin)
	if out, err := exec.CommandContext(t.Context(), "softhsm2-util", "--init-token", "--free", "--label", "gate", "--pin", pin, "--so-pin", pin).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file, _ := enrolledConfig(t, ca, dir, ca.URL)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("stepCA: {"), fmt.Appendf(nil,
		`stepCA: {keyURI: "pkcs11:module-path=%s;token=gate;id=10;object=gate?pin-value=${GATE_PIN}", `, hsmModule), 1)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	crt, ckey := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")
	ca.Step("ca", "certificate", "a", crt, ckey, "--ca-url", ca.URL, "--root", ca.RootFile, "--not-after", "1h",
		"--token", ca.Token("a", "spiffe://example.org/tenant/acme/a"))
	var log strings.Builder
	url, stop := runLoggedGate(t, file, &log)
	leaf := func() (serial, key string) {
		res, err := stepClient(t, ca, crt, ckey).Get(url + "/health")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		c := res.TLS.PeerCertificates[0]
		return c.SerialNumber.String(), string(c.RawSubjectPublicKeyInfo)
	}
	first, key := leaf()
	waitFor(t, 30*time.Second, func() bool { serial, _ := leaf(); return serial != first })
	if _, again := leaf(); again != key {
		t.Error("renewed for another key")
	}
	if _, err := os.Stat(filepath.Join(dir, "state", "stepca", "current", "tls.crt")); err != nil {
		t.Error(err)
	}
	if keys, err := filepath.Glob(filepath.Join(dir, "state", "stepca", "*", "*.key")); err != nil || len(keys) > 0 {
		t.Errorf("keys in the state folder: %v %v", keys, err)
	}
	if stop(); strings.Contains(log.String(), pin) || log.Len() == 0 {
		t.Error("the PIN is in the log")
	}
}
