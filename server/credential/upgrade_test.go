package credential_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/store"
)

// olderStore fills dir as versions did that left names unbound: n credentials of acme,
// "c0" and on, with the value "secret-c0" and on.
func olderStore(t *testing.T, dir string, n int) {
	t.Helper()
	s, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	kekRef := "file:" + filepath.Join(dir, "kek")
	_, createErr := credential.CreateKEK(kekRef)
	kek, err := credential.OpenKEK(t.Context(), kekRef, slog.New(slog.DiscardHandler))
	if err := errors.Join(err, createErr); err != nil {
		t.Fatal(err)
	}
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := aead.New(handle)
	if err != nil {
		t.Fatal(err)
	}
	var wrapped bytes.Buffer
	err = handle.WriteWithContext(t.Context(), keyset.NewBinaryWriter(&wrapped), kek, []byte("sangate/v1|keyset"))
	if err == nil {
		k := store.CredentialKeys{Generation: 1, Form: 1, Wrapped: wrapped.Bytes(), KEK: kekRef}
		err = s.AddCredentialKeys(t.Context(), k)
	}
	for i := 0; err == nil && i < n; i++ {
		c := store.Credential{Tenant: "acme", Name: fmt.Sprintf("c%d", i), Type: "ApiKey"}
		_, err = s.AddCredential(t.Context(), c, 1, func(c store.Credential) ([]byte, error) {
			data := fmt.Appendf(nil, "sangate/v1|%s|%d|%d|%s|%s", c.Tenant, c.ID, c.Version, c.Type, c.Header)
			return sealer.Encrypt([]byte("secret-"+c.Name), data)
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// form returns the form of the keys in dir and their generation.
func form(t *testing.T, dir string) (form, generation int64) {
	t.Helper()
	s, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	k, err := s.CredentialKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return k.Form, k.Generation
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
			t.Fatal(err)
		}
	}
}

func named(t *testing.T, v *credential.Vault, name string) string {
	t.Helper()
	s, err := v.Resolve(t.Context(), credential.Ref{Tenant: "acme", Name: name})
	if err != nil {
		return err.Error()
	}
	return s.Value
}

// A store of an older version is sealed again before anything of it is used, and
// nothing of the older form is accepted afterwards.
//
// Holds: local/credential-moved
func TestUpgrade(t *testing.T) {
	dir := t.TempDir()
	olderStore(t, dir, 3)
	if err := vaultOver(t, dir).Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f, g := form(t, dir); f != 1 || g != 1 {
		t.Fatalf("a look changed the keys to form %d, generation %d", f, g)
	}
	execute(t, dir, `CREATE TABLE before AS SELECT * FROM credentials`,
		`CREATE TABLE keys_before AS SELECT * FROM credential_keys`,
		`UPDATE credentials SET sealed = x'00' WHERE name = 'c2'`)
	v := vaultOver(t, dir)
	if err := v.Upgrade(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f, g := form(t, dir); f != 2 || g != 2 {
		t.Fatalf("form %d, generation %d after the upgrade, want 2 and 2", f, g)
	}
	for name, want := range map[string]string{"c0": "secret-c0", "c1": "secret-c1"} {
		if got := named(t, v, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := named(t, v, "c2"); !strings.Contains(got, "does not open") {
		t.Errorf("a row that did not open before is %q", got)
	}
	for _, edit := range []string{
		`UPDATE credential_keys SET form = 1`,
		`UPDATE credential_keys SET form = 3`,
		`UPDATE credential_keys SET generation = 3`,
		`UPDATE credential_keys SET wrapped = (SELECT wrapped FROM keys_before)`,
		`UPDATE credentials SET sealed = (SELECT sealed FROM before WHERE id = 1) WHERE id = 1`,
	} {
		execute(t, dir, `CREATE TABLE good AS SELECT * FROM credentials`,
			`CREATE TABLE good_keys AS SELECT * FROM credential_keys`, edit)
		if got := named(t, vaultOver(t, dir), "c0"); !strings.Contains(got, "does not open") {
			t.Errorf("%s: %q", edit, got)
		}
		execute(t, dir, `DELETE FROM credentials`, `INSERT INTO credentials SELECT * FROM good`, `DROP TABLE good`,
			`DELETE FROM credential_keys`, `INSERT INTO credential_keys SELECT * FROM good_keys`, `DROP TABLE good_keys`)
	}
	if got := named(t, vaultOver(t, dir), "c0"); got != "secret-c0" {
		t.Fatalf("put right again: %q", got)
	}
	// One who has seen newer keys does not go back to the older ones.
	execute(t, dir, `DELETE FROM credential_keys`, `INSERT INTO credential_keys SELECT * FROM keys_before`,
		`UPDATE credentials SET sealed = (SELECT sealed FROM before b WHERE b.id = credentials.id)`)
	if got := named(t, v, "c0"); !strings.Contains(got, "went back from generation 2 to 1") {
		t.Errorf("an older copy of the keys: %q", got)
	}
}

// Commands that change credentials bring an older store to the form of today, as a
// look-up does; listing does not.
func TestUpgradeByUse(t *testing.T) {
	for name, tt := range map[string]struct {
		use  func(v *credential.Vault) error
		form int64
	}{
		"list": {func(v *credential.Vault) error { _, err := v.List(t.Context()); return err }, 1},
		"init": {func(v *credential.Vault) error { _, _, err := v.Init(t.Context()); return err }, 1},
		"add": {func(v *credential.Vault) error {
			_, err := v.Add(t.Context(), &credential.Secret{Name: "n", Type: credential.APIKey, Value: "x"}, "", "test")
			return err
		}, 2},
		"rotate":   {func(v *credential.Vault) error { _, err := v.Update(t.Context(), 1, "secret-c0", 0); return err }, 2},
		"rewrap":   {func(v *credential.Vault) error { return v.Rewrap(t.Context(), "file:"+t.TempDir()+"/kek") }, 2},
		"new keys": {func(v *credential.Vault) error { return v.Rekey(t.Context(), nil) }, 2},
		"resolve": {func(v *credential.Vault) error {
			_, err := v.Resolve(t.Context(), credential.Ref{ID: 1})
			return err
		}, 2},
	} {
		dir := t.TempDir()
		olderStore(t, dir, 2)
		v := vaultOver(t, dir)
		if err := tt.use(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, _ := form(t, dir); got != tt.form {
			t.Errorf("%s: the keys are of form %d, want %d", name, got, tt.form)
		}
		if got := named(t, v, "c0"); got != "secret-c0" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestUpgradeAtOnce(t *testing.T) {
	for range 5 {
		dir := t.TempDir()
		olderStore(t, dir, 20)
		var wg sync.WaitGroup
		for i := range 6 {
			v := vaultOver(t, dir)
			wg.Go(func() {
				if i%2 == 0 {
					if err := v.Upgrade(t.Context()); err != nil {
						t.Error(err)
					}
				}
				if got := named(t, v, "c7"); got != "secret-c7" {
					t.Errorf("resolved %q", got)
				}
			})
		}
		wg.Wait()
		if f, g := form(t, dir); f != 2 || g != 2 {
			t.Errorf("form %d, generation %d, want 2 and 2: it was done more than once, or not", f, g)
		}
	}
}

const upgraderDir = "CREDENTIAL_TEST_UPGRADER_DIR"

// TestUpgrader is the process that TestKilledUpgrade kills.
func TestUpgrader(t *testing.T) {
	dir := os.Getenv(upgraderDir)
	if dir == "" {
		t.SkipNow()
	}
	v := vaultOver(t, dir)
	fmt.Println("begin")
	if err := v.Upgrade(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// kill -9 at any point of an upgrade: every credential opens, in one form or the other.
//
// Holds: operator/killed-while-writing
func TestKilledUpgrade(t *testing.T) {
	t.Parallel()
	const n = 300
	forms := make(map[int64]int)
	for round := range 12 {
		dir := t.TempDir()
		olderStore(t, dir, n)
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestUpgrader$")
		cmd.Env = append(os.Environ(), upgraderDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(time.Duration(round+1) * 4 * time.Millisecond)) // the moment is meant to be any
		cmd.Process.Kill()
		cmd.Wait()
		f, _ := form(t, dir)
		forms[f]++
		v := vaultOver(t, dir)
		for i := range n {
			if got := named(t, v, fmt.Sprintf("c%d", i)); got != fmt.Sprintf("secret-c%d", i) {
				t.Fatalf("form %d: c%d is %q", f, i, got)
			}
		}
		if f, g := form(t, dir); f != 2 || g != 2 {
			t.Errorf("form %d, generation %d in the end", f, g)
		}
	}
	t.Logf("killed in form: %v", forms)
}
