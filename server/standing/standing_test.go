package standing_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/standing"
	"github.com/sangate/sangate/server/store"
)

// A place is a state folder with its mark.
type place struct {
	t         *testing.T
	dir, mark string
	kek       string // "": none
}

func newPlace(t *testing.T, withKEK bool) *place {
	t.Helper()
	dir := t.TempDir()
	p := &place{t: t, dir: filepath.Join(dir, "state"), mark: filepath.Join(dir, "mark")}
	if withKEK {
		p.kek = "file:" + filepath.Join(dir, "kek")
	}
	return p
}

func (p *place) store() *store.Store {
	p.t.Helper()
	s, err := store.Open(p.t.Context(), p.dir, store.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { s.Close() })
	return s
}

func (p *place) options(s *store.Store) standing.Options {
	vault := func() *credential.Vault {
		if p.kek == "" {
			return nil
		}
		return credential.New(s, p.kek, slog.New(slog.DiscardHandler))
	}
	return standing.Options{Store: s, File: p.mark, Logger: slog.New(slog.DiscardHandler), Vault: vault}
}

// start does the same as a start of the server.
func (p *place) start() (*standing.Keeper, *store.Store, error) {
	p.t.Helper()
	s := p.store()
	if p.kek != "" {
		if _, _, err := credential.New(s, p.kek, slog.New(slog.DiscardHandler)).Init(p.t.Context()); err != nil {
			p.t.Fatal(err)
		}
	}
	k, err := standing.Open(p.t.Context(), p.options(s))
	return k, s, err
}

func (p *place) mustStart() (*standing.Keeper, *store.Store) {
	p.t.Helper()
	k, s, err := p.start()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := k.Problem(); err != nil {
		p.t.Errorf("the mark: %v", err)
	}
	return k, s
}

func (p *place) refused(want string) {
	p.t.Helper()
	_, s, err := p.start()
	s.Close()
	if !errors.Is(err, standing.ErrBehind) || !strings.Contains(err.Error(), want) ||
		!strings.Contains(err.Error(), "sangate state accept") {
		p.t.Errorf("a start: %v, want one that is refused with %q", err, want)
	}
}

func (p *place) accept() standing.Change {
	p.t.Helper()
	s := p.store()
	defer s.Close()
	done, err := standing.Accept(p.t.Context(), p.options(s))
	if err != nil {
		p.t.Fatal(err)
	}
	return done
}

// copyTo copies a closed database.
func (p *place) copyTo(to string) {
	p.t.Helper()
	if err := copyFile(filepath.Join(p.dir, "sangate.db"), to); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) putBack(from string) {
	p.t.Helper()
	for _, suffix := range []string{"-wal", "-shm"} {
		os.Remove(filepath.Join(p.dir, "sangate.db"+suffix))
	}
	if err := copyFile(from, filepath.Join(p.dir, "sangate.db")); err != nil {
		p.t.Fatal(err)
	}
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

func addKey(t *testing.T, s *store.Store) string {
	t.Helper()
	key, id, err := apikey.Mint()
	if err == nil {
		err = s.AddKey(t.Context(), apikey.Entry{ID: id, Tenant: "acme", Digest: apikey.Digest(key)}, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// An older copy of the database, put in place while the server is down, is refused,
// whether or not the mark has a proof; an operator can accept it.
//
// Holds: local/state-older-copy
func TestOlderCopyRefused(t *testing.T) {
	for _, withKEK := range []bool{false, true} {
		t.Run(fmt.Sprintf("KEK %t", withKEK), func(t *testing.T) {
			p := newPlace(t, withKEK)
			_, s := p.mustStart()
			id := addKey(t, s)
			s.Close()
			older := filepath.Join(t.TempDir(), "older.db")
			p.copyTo(older)

			k, s := p.mustStart()
			if err := s.RevokeKey(t.Context(), id, time.Time{}); err != nil {
				t.Fatal(err)
			}
			k.Raise(t.Context())
			s.Close()
			_, s = p.mustStart() // what was not put back goes on
			s.Close()

			p.putBack(older)
			p.refused("older copy was put in its place")
			s = p.store()
			if err := standing.Look(t.Context(), s, p.mark); !errors.Is(err, standing.ErrBehind) {
				t.Errorf("a command: %v", err)
			}
			s.Close()
			if done := p.accept(); done.Sealed != withKEK || done.Before.Int64() <= done.After {
				t.Errorf("accepted: %+v", done)
			}
			p.mustStart()
		})
	}
}

// A mark that is missing, unreadable, of another key or without its proof is refused.
//
// Holds: local/state-mark-tampered
func TestBadMarkRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(p *place) error
		want string
	}{
		"missing":    {func(p *place) error { return os.Remove(p.mark) }, "is missing"},
		"empty":      {func(p *place) error { return os.WriteFile(p.mark, nil, 0o600) }, "cannot be read"},
		"no proof":   {func(p *place) error { return os.WriteFile(p.mark, []byte(`{"version":1,"marks":{}}`), 0o600) }, "had a proof"},
		"edited":     {func(p *place) error { return edited(p.mark, `"marks":{`, `"marks":{"x":1,`) }, "changed by hand"},
		"other key":  {func(p *place) error { return edited(p.mark, `"keys":["`, `"keys":["AAAA`) }, "proof"},
		"a folder":   {func(p *place) error { return errors.Join(os.Remove(p.mark), os.Mkdir(p.mark, 0o700)) }, "not a file"},
		"for others": {func(p *place) error { return os.Chmod(p.mark, 0o666) }, "writable for other users"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, true)
			_, s := p.mustStart()
			addKey(t, s)
			s.Close()
			if err := tt.edit(p); err != nil {
				t.Fatal(err)
			}
			p.refused(tt.want)
			if name == "a folder" {
				os.Remove(p.mark)
			}
			p.accept()
			p.mustStart()
		})
	}
}

func edited(file, from, to string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(strings.Replace(string(data), from, to, 1)), 0o600)
}

// Whatever the order of crash and commit, a server starts: a mark may be late, or
// written and not noted.
func TestCrashesLockNobodyOut(t *testing.T) {
	p := newPlace(t, true)
	_, s := p.mustStart()
	addKey(t, s) // committed, and not marked
	s.Close()
	_, s = p.mustStart()
	if err := s.SetMarked(t.Context(), store.Unmarked); err != nil { // written, and not noted
		t.Fatal(err)
	}
	s.Close()
	_, s = p.mustStart()
	s.Close()
	// Without the key encryption key the server starts and reports a problem.
	kek := p.kek
	p.kek = ""
	k, s, err := p.start()
	if err != nil || k.Problem() == nil {
		t.Fatalf("without the key: %v, problem %v", err, k.Problem())
	}
	addKey(t, s)
	k.Raise(t.Context())
	if k.Problem() == nil {
		t.Error("raised without the key")
	}
	s.Close()
	p.kek = kek
	p.mustStart()
}
