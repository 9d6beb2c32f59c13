package standing_test

import (
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/standing"
)

// The mark follows the key encryption key, at any point of a rewrap.
func TestRewrap(t *testing.T) {
	for _, crash := range []bool{true, false} {
		p := newPlace(t, true)
		_, s := p.mustStart()
		to := "file:" + filepath.Join(t.TempDir(), "kek2")
		if _, err := credential.CreateKEK(to); err != nil {
			t.Fatal(err)
		}
		if err := standing.Rewrap(t.Context(), p.options(s), to); err != nil {
			t.Fatal(err)
		}
		if !crash {
			if err := p.options(s).Vault().Rewrap(t.Context(), to); err != nil {
				t.Fatal(err)
			}
			p.kek = to
		}
		s.Close()
		_, s = p.mustStart()
		s.Close()
		p.mustStart()
	}
}

// An older row of a credential, one that was deleted, and older keys do not open, even
// if the database's own count says that it is current.
//
// Holds: local/credential-older
func TestOlderCredentialsDoNotOpen(t *testing.T) {
	p := newPlace(t, true)
	k, s := p.mustStart()
	vault := func() *credential.Vault {
		v := credential.New(s, p.kek, slog.New(slog.DiscardHandler))
		v.Guard(k.Floor)
		return v
	}
	v := vault()
	for _, name := range []string{"rotated", "deleted", "kept"} {
		if _, err := v.Add(t.Context(), &credential.Secret{Name: name, Type: credential.APIKey, Value: "old-" + name}, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	k.Raise(t.Context())
	execute(t, p.dir, `CREATE TABLE before AS SELECT * FROM credentials`, `CREATE TABLE keys_before AS SELECT * FROM credential_keys`)
	_, updateErr := v.Update(t.Context(), 1, "new", 0)
	_, deleteErr := v.Delete(t.Context(), 2, 0)
	if err := errors.Join(updateErr, deleteErr); err != nil {
		t.Fatal(err)
	}
	k.Raise(t.Context())
	if err := k.Problem(); err != nil {
		t.Fatal(err)
	}
	execute(t, p.dir, `DELETE FROM credentials WHERE id = 1`, `INSERT INTO credentials SELECT * FROM before WHERE id IN (1, 2)`,
		`UPDATE state_generation SET generation = generation + 100`)
	for id, want := range map[int64]string{1: "older row was put in its place", 2: "was deleted before", 3: ""} {
		secret, err := vault().Resolve(t.Context(), credential.Ref{ID: id})
		if want == "" && err == nil {
			continue
		}
		if err == nil || want == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("credential %d: %v, %v, want %q", id, secret, err, want)
		}
	}
	execute(t, p.dir, `DELETE FROM credentials WHERE id < 3`)
	if err := vault().Rekey(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	k.Raise(t.Context())
	execute(t, p.dir, `DELETE FROM credential_keys`, `INSERT INTO credential_keys SELECT * FROM keys_before`,
		`DELETE FROM credentials`, `INSERT INTO credentials SELECT * FROM before WHERE id = 3`)
	if secret, err := vault().Resolve(t.Context(), credential.Ref{ID: 3}); err == nil || !strings.Contains(err.Error(), "went back") {
		t.Errorf("by older keys: %v, %v", secret, err)
	}
}

func execute(t *testing.T, dir string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "sangate.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}
