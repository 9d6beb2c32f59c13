package credential_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/store"
)

// vault opens the one in dir, and makes what is missing.
func vault(t testing.TB, dir string) *credential.Vault {
	t.Helper()
	s, err := store.Open(context.Background(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	v := credential.New(s, "file:"+filepath.Join(dir, "kek"), slog.New(slog.DiscardHandler))
	if _, _, err := v.Init(context.Background()); err != nil {
		t.Fatal(err)
	}
	return v
}

func add(t testing.TB, v *credential.Vault, s *credential.Secret) int64 {
	t.Helper()
	info, err := v.Add(t.Context(), s, "", "test")
	if err != nil {
		t.Fatal(err)
	}
	return info.ID
}

// resolved returns the value, or the error in its place.
func resolved(t testing.TB, v credential.Resolver, id int64) string {
	t.Helper()
	value, err := credential.GetPassword(t.Context(), v, id)
	if err != nil {
		return err.Error()
	}
	return value
}

func TestVault(t *testing.T) {
	dir := t.TempDir()
	v := vault(t, dir)
	key := &credential.Secret{Name: "zendesk", Tenant: "acme", Type: credential.APIKey, Header: "X-Api-Key", Value: "s3cret"}
	id := add(t, v, key)
	if _, err := v.Add(t.Context(), key, "", "test"); !errors.Is(err, store.ErrExists) {
		t.Errorf("a second one of the name: %v", err)
	}
	other := *key
	other.Tenant = "globex"
	if add(t, v, &other) == id {
		t.Error("two have one id")
	}
	got, err := v.Resolve(t.Context(), credential.Ref{Tenant: "acme", Name: "zendesk"})
	if err != nil || got.ID != id || got.Value != "s3cret" || got.Header != "X-Api-Key" || got.Version != 1 {
		t.Errorf("resolved %v: %v", got, err)
	}

	info, err := v.Update(t.Context(), id, "s3cret2", 1)
	if err != nil || info.Version != 2 {
		t.Errorf("update: %+v, %v", info, err)
	}
	if _, err := v.Update(t.Context(), id, "late", 1); !errors.Is(err, store.ErrVersion) {
		t.Errorf("an update of what was changed since: %v", err)
	}
	if got := resolved(t, vault(t, dir), id); got != "s3cret2" {
		t.Errorf("another process resolves %q", got)
	}

	if _, err := v.Delete(t.Context(), id, 1); !errors.Is(err, store.ErrVersion) {
		t.Errorf("a delete of what was changed since: %v", err)
	}
	if _, err := v.Delete(t.Context(), id, 0); err != nil {
		t.Error(err)
	}
	_, err = credential.GetPassword(t.Context(), v, id)
	if !errors.Is(err, credential.ErrCredentialNotFound) || !strings.Contains(err.Error(), fmt.Sprint(id)) {
		t.Errorf("deleted: %v", err)
	}
	if again := add(t, v, key); again <= id {
		t.Errorf("id %d was given again", again)
	}
}

func TestBadSecrets(t *testing.T) {
	v := vault(t, t.TempDir())
	for name, s := range map[string]*credential.Secret{
		"no value":        {Type: credential.APIKey},
		"a line break":    {Type: credential.APIKey, Value: "hunter2\r\nHost: evil"},
		"spaces":          {Type: credential.APIKey, Value: " hunter2"},
		"too long":        {Type: credential.APIKey, Value: strings.Repeat("hunter2", 3000)},
		"no such type":    {Type: "Token", Value: "hunter2"},
		"no user":         {Type: credential.Basic, Value: ":hunter2"},
		"no password":     {Type: credential.Basic, Value: "hunter2"},
		"a header":        {Type: credential.Basic, Value: "u:hunter2", Header: "X-Key"},
		"the Host header": {Type: credential.APIKey, Value: "hunter2", Header: "host"},
		"two headers":     {Type: credential.APIKey, Value: "hunter2", Header: "X: y\r\nZ"},
		"no JSON":         {Type: credential.OAuth2, Value: "hunter2"},
		"more JSON":       {Type: credential.OAuth2, Value: `{"tokenUrl":"https://a","clientId":"c","clientSecret":"hunter2","x":1}`},
		"plain http":      {Type: credential.OAuth2, Value: `{"tokenUrl":"http://a","clientId":"c","clientSecret":"hunter2"}`},
		"no client":       {Type: credential.OAuth2, Value: `{"tokenUrl":"https://a","clientSecret":"hunter2"}`},
	} {
		s.Name = "n"
		_, err := v.Add(t.Context(), s, "", "test")
		if _, ok := errors.AsType[*credential.InvalidError](err); !ok {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error repeats the value: %v", name, err)
		}
	}
	for _, name := range []string{"", "../x", "a/b", "a b"} {
		if _, err := v.Add(t.Context(), &credential.Secret{Name: name, Type: credential.APIKey, Value: "x"}, "", ""); err == nil {
			t.Errorf("name %q was taken", name)
		}
	}
}

// A row that was changed by hand does not open: another's ciphertext, another
// tenant, name, an older version, another header.
//
// Holds: local/credential-moved
func TestRowsAreBound(t *testing.T) {
	for name, edit := range map[string]string{
		"name":          `UPDATE credentials SET name = 'c' WHERE id = 1`,
		"another row's": `UPDATE credentials SET sealed = (SELECT sealed FROM credentials WHERE id = 2) WHERE id = 1`,
		"tenant":        `UPDATE credentials SET tenant = 'globex' WHERE id = 1`,
		"version":       `UPDATE credentials SET version = 7 WHERE id = 1`,
		"header":        `UPDATE credentials SET header = 'X-Leak' WHERE id = 1`,
		"type":          `UPDATE credentials SET type = 'Basic' WHERE id = 1`,
		"whole row":     `UPDATE credentials SET id = 9 WHERE id = 1`,
		"one bit":       `UPDATE credentials SET sealed = CAST(substr(sealed, 1, length(sealed) - 1) || x'00' AS BLOB) WHERE id = 1`,
	} {
		dir := t.TempDir()
		v := vault(t, dir)
		add(t, v, &credential.Secret{Name: "a", Tenant: "acme", Type: credential.APIKey, Value: "one:one"})
		add(t, v, &credential.Secret{Name: "b", Tenant: "acme", Type: credential.APIKey, Value: "two:two"})
		db, err := sql.Open("sqlite", filepath.Join(dir, "sangate.db"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(edit); err != nil {
			t.Fatal(err)
		}
		db.Close()
		id := int64(1)
		if name == "whole row" {
			id = 9
		}
		if s, err := v.Resolve(t.Context(), credential.Ref{ID: id}); err == nil || !strings.Contains(err.Error(), "does not open") {
			t.Errorf("%s: %v, %v", name, s, err)
		}
		if got := resolved(t, v, 2); got != "two:two" {
			t.Errorf("%s: the other is %q", name, got)
		}
	}
}

// One who can write the database swaps the names of two secrets: neither API is shown
// the other's.
//
// Holds: local/credential-moved
func TestSwappedNames(t *testing.T) {
	dir := t.TempDir()
	v := vault(t, dir)
	for _, name := range []string{"bank", "weather"} {
		add(t, v, &credential.Secret{Name: name, Tenant: "acme", Type: credential.APIKey, Value: "secret-" + name})
	}
	execute(t, dir, `UPDATE credentials SET name = 'x' WHERE id = 1`, `UPDATE credentials SET name = 'bank' WHERE id = 2`,
		`UPDATE credentials SET name = 'weather' WHERE id = 1`)
	for _, name := range []string{"bank", "weather"} {
		if got := named(t, v, name); !strings.Contains(got, "does not open") {
			t.Errorf("%s is %q", name, got)
		}
	}
}
