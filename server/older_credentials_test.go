package server_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/store"
)

// olderState returns a state folder with one credential, "search" of the value
// "hunter2", sealed as versions did that left its name unbound.
func olderState(t *testing.T, kek string) string {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k, kekErr := credential.OpenKEK(t.Context(), kek, slog.New(slog.DiscardHandler))
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err := errors.Join(kekErr, err); err != nil {
		t.Fatal(err)
	}
	sealer, err := aead.New(handle)
	if err != nil {
		t.Fatal(err)
	}
	var wrapped bytes.Buffer
	err = handle.WriteWithContext(t.Context(), keyset.NewBinaryWriter(&wrapped), k, []byte("sangate/v1|keyset"))
	if err == nil {
		keys := store.CredentialKeys{Generation: 1, Form: 1, Wrapped: wrapped.Bytes(), KEK: kek}
		err = s.AddCredentialKeys(t.Context(), keys)
	}
	if err == nil {
		seal := func(c store.Credential) ([]byte, error) {
			return sealer.Encrypt([]byte("hunter2"), fmt.Appendf(nil, "sangate/v1||%d|1|ApiKey|", c.ID))
		}
		_, err = s.AddCredential(t.Context(), store.Credential{Name: "search", Type: "ApiKey"}, 1, seal)
	}
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A start brings credentials of an older version to the form of today.
//
// Holds: local/credential-moved
func TestOlderCredentials(t *testing.T) {
	t.Setenv("SANGATE_TEST_KEK", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32)))
	const kek = "env:SANGATE_TEST_KEK"
	dir := olderState(t, kek)
	servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return strings.Replace(yaml, "state: state", "state: "+dir, 1) + fmt.Sprintf("credentials: {kek: %q}\n", kek)
	}})
	s, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	keys, err := s.CredentialKeys(t.Context())
	if err != nil || keys.Form != 2 || keys.Generation != 2 {
		t.Errorf("after the start the keys are of form %d, generation %d: %v", keys.Form, keys.Generation, err)
	}
	secret, err := credential.New(s, kek, slog.New(slog.DiscardHandler)).Resolve(t.Context(), credential.Ref{Name: "search"})
	if err != nil || secret.Value != "hunter2" {
		t.Errorf("resolved %v: %v", secret, err)
	}
}
