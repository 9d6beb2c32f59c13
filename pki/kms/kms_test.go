package kms_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.step.sm/crypto/keyutil"
	"go.step.sm/crypto/kms/apiv1"

	"github.com/sangate/sangate/pki/kms"
)

func TestOpen(t *testing.T) {
	uri := "softkms:path=" + filepath.Join(t.TempDir(), "key.pem")
	if _, err := kms.Open(t.Context(), uri); err == nil {
		t.Fatal("a key that is not there was opened")
	}
	made, err := kms.OpenOrCreate(t.Context(), uri, apiv1.ECDSAWithSHA256, 0)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := kms.Open(t.Context(), uri)
	if err != nil || !keyutil.Equal(made.Public(), opened.Public()) {
		t.Errorf("another key the second time, or %v", err)
	}
}

func TestNoPINInErrors(t *testing.T) {
	for _, uri := range []string{
		"", "key.pem", "pkcs11:module-path=/x;token=t?pin-value=4711", "softkms:path=/nonexistent/key.pem?pin-value=4711",
		"no such:scheme?pin-value=4711", "\x7f:pin-value=4711", "pkcs11:token=4711;pin-value=4711",
	} {
		_, err := kms.OpenOrCreate(t.Context(), uri, apiv1.ECDSAWithSHA256, 0)
		if err == nil {
			t.Errorf("%q opened", uri)
		} else if strings.Contains(err.Error(), "pin-value") || strings.Contains(err.Error(), "4711") || strings.ContainsAny(err.Error(), "\n\x7f") {
			t.Errorf("%q: the PIN or a control byte is in the error: %q", uri, err)
		}
	}
}

func TestIsURI(t *testing.T) {
	for s, want := range map[string]bool{
		"softkms:path=/x": true, "pkcs11:token=t;id=10": true, "PKCS11:token=t": true, "awskms:key-id=1": true,
		"": false, "/etc/sangate/server.key": false, "server.key": false, "C:server.key": false, "file:server.key": false, "https://x/y": false,
	} {
		if kms.IsURI(s) != want {
			t.Errorf("%q: not %t", s, want)
		}
	}
}

// TestSoftKeyIsRegularFile checks that a key URI which names a FIFO or a device is refused at once.
func TestSoftKeyIsRegularFile(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{fifo, "/dev/zero"} {
		if _, err := kms.Open(t.Context(), "softkms:path="+name); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("Open(%s) = %v, want an error that names the kind of file", name, err)
		}
		if _, err := kms.OpenDecrypter(t.Context(), "softkms:path="+name); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("OpenDecrypter(%s) = %v, want an error that names the kind of file", name, err)
		}
	}
}
