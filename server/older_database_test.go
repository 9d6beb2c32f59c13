package server_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/standing"
	"github.com/sangate/sangate/server/store"
)

// An olderGate is a gate with a key of the state store, of which there is a copy from
// before the key was revoked.
type olderGate struct {
	*servertest.Gate
	t                *testing.T
	dir, older       string
	key, id          string
	olderGeneration  int64
	client           *http.Client
	newestGeneration int64
}

func newOlderGate(t *testing.T, opts servertest.Options) *olderGate {
	t.Helper()
	g := &olderGate{t: t, dir: filepath.Join(t.TempDir(), "state"), older: filepath.Join(t.TempDir(), "older.db")}
	edit := opts.Config
	opts.Config = func(yaml string) string {
		if edit != nil {
			yaml = edit(yaml)
		}
		return strings.Replace(yaml, "state: state", "state: "+g.dir, 1)
	}
	g.Gate = servertest.Start(t, opts)
	g.client = g.Client(g.Cert("acme"))
	key, id, err := apikey.Mint()
	if err != nil {
		t.Fatal(err)
	}
	g.key, g.id = key, id
	g.inStore(func(s *store.Store) error {
		return s.AddKey(t.Context(), apikey.Entry{ID: id, Tenant: "acme", Digest: apikey.Digest(key)}, "")
	})
	g.until(200)
	g.execute("VACUUM INTO '" + g.older + "'")
	g.inStore(func(s *store.Store) (err error) {
		generation, err := s.Generation(t.Context())
		g.olderGeneration = generation.Number
		return errors.Join(err, s.RevokeKey(t.Context(), id, time.Time{}))
	})
	g.until(401)
	g.inStore(func(s *store.Store) error {
		generation, err := s.Generation(t.Context())
		g.newestGeneration = generation.Number
		return err
	})
	// The mark follows within the poll of the store.
	if !servertest.WaitFor(func() bool {
		data, _ := os.ReadFile(filepath.Join(g.dir, "highwater.json"))
		return strings.Contains(string(data), fmt.Sprintf(`"state/generation":%d`, g.newestGeneration))
	}, 10*time.Second) {
		t.Fatal("the mark does not follow")
	}
	return g
}

func (g *olderGate) inStore(do func(*store.Store) error) {
	g.t.Helper()
	s, err := store.Open(g.t.Context(), g.dir, store.Options{})
	if err != nil {
		g.t.Fatal(err)
	}
	if err := errors.Join(do(s), s.Close()); err != nil {
		g.t.Fatal(err)
	}
}

func (g *olderGate) execute(statements ...string) {
	g.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(g.dir, "sangate.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		g.t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			g.t.Fatalf("%s: %v", statement, err)
		}
	}
}

// back changes the open database to the content of the older copy in one transaction, as
// SQLite's own restore does.
func (g *olderGate) back() {
	g.t.Helper()
	g.execute("BEGIN IMMEDIATE", "UPDATE api_keys SET revoked_at = NULL",
		fmt.Sprintf("UPDATE state_generation SET generation = %d", g.olderGeneration), "COMMIT")
}

func (g *olderGate) status() int {
	g.t.Helper()
	res := ask(g.t, g.client, "GET", g.URL+"/tools", "", "Authorization: Bearer "+g.key)
	bodyOf(res)
	return res.StatusCode
}

func (g *olderGate) until(status int) {
	g.t.Helper()
	if !servertest.WaitFor(func() bool { return g.status() == status }, 10*time.Second) {
		g.t.Fatalf("the key never got %d", status)
	}
}

// start tries another start on the same files, once the gate has stopped.
func (g *olderGate) start() error {
	g.t.Helper()
	<-g.Stop()
	s, err := server.New(g.t.Context(), server.Options{ConfigFile: filepath.Join(g.Dir, "sangate.yaml"),
		Overrides: []string{"admin=127.0.0.1:0", "listen=127.0.0.1:0"}})
	if err == nil {
		ctx, cancel := context.WithCancel(g.t.Context())
		cancel()
		err = s.Run(ctx)
	}
	return err
}

// A file with an older copy of the database that takes the place of the newer one, while
// the server is stopped or running, keeps it from starting, and a key that was revoked
// since stays revoked.
//
// Holds: local/state-older-copy
func TestOlderDatabaseWhileStopped(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running %t", running), func(t *testing.T) {
			t.Parallel()
			testOlderFile(t, running)
		})
	}
}

func testOlderFile(t *testing.T, running bool) {
	g := newOlderGate(t, servertest.Options{})
	if !running {
		if err := g.start(); err != nil {
			t.Fatalf("a start on the database as it was left: %v", err)
		}
	}
	for _, suffix := range []string{"-wal", "-shm"} { // of the newer one: SQLite would take it for the older one's
		os.Remove(filepath.Join(g.dir, "sangate.db"+suffix))
	}
	if err := os.Rename(g.older, filepath.Join(g.dir, "sangate.db")); err != nil {
		t.Fatal(err)
	}
	if running {
		if !servertest.WaitFor(func() bool {
			status, _ := adminGet(t, g.Gate, http.MethodGet, "/readyz", "")
			return status == 503
		}, 10*time.Second) {
			t.Error("the gate is ready on a file that was replaced")
		}
		if got := g.status(); got != 401 {
			t.Errorf("the key that was revoked gets %d", got)
		}
	}
	err := g.start()
	if !errors.Is(err, standing.ErrBehind) || !strings.Contains(err.Error(), "sangate state accept") {
		t.Fatalf("a start on an older copy: %v", err)
	}
	g.inStore(func(s *store.Store) error {
		_, err := standing.Accept(t.Context(), standing.Options{Store: s, File: filepath.Join(g.dir, "highwater.json"),
			Logger: slog.New(slog.DiscardHandler)})
		return err
	})
	if err := g.start(); err != nil {
		t.Errorf("a start after it was accepted: %v", err)
	}
}

// The same while the server runs: the keys that were read last stay in force.
// Nothing is read from the older copy, or written to it, until it is put right or accepted.
//
// Holds: local/state-older-copy
func TestOlderDatabaseWhileRunning(t *testing.T) {
	t.Parallel()
	var log safeLog
	g := newOlderGate(t, servertest.Options{Log: &log})
	reported := func(behind float64) {
		t.Helper()
		want := 200
		if behind == 1 {
			want = 503
		}
		if !servertest.WaitFor(func() bool {
			status, ready := adminGet(t, g.Gate, http.MethodGet, "/readyz", "")
			return g.Metric("sangate_state_behind") == behind && status == want &&
				strings.Contains(ready, "older copy") == (behind == 1)
		}, 10*time.Second) {
			t.Fatalf("sangate_state_behind is never %g, with /readyz %d", behind, want)
		}
	}
	reported(0)
	g.back()
	reported(1)
	if got := g.status(); got != 401 {
		t.Errorf("the key that was revoked gets %d", got)
	}
	if _, page := adminGet(t, g.Gate, http.MethodGet, "/", ""); !strings.Contains(page, "older copy") {
		t.Error("the console says nothing")
	}
	if !strings.Contains(log.String(), "older copy was put in its place") {
		t.Errorf("the log says nothing: %s", log.String())
	}
	// Put right, it is taken up again.
	g.execute("BEGIN IMMEDIATE", "UPDATE api_keys SET revoked_at = 1",
		fmt.Sprintf("UPDATE state_generation SET generation = %d", g.newestGeneration), "COMMIT")
	reported(0)
	if got := g.status(); got != 401 {
		t.Errorf("the key that was revoked gets %d", got)
	}
	// Accepted by an operator, what it says counts.
	g.back()
	reported(1)
	g.inStore(func(s *store.Store) error {
		_, err := standing.Accept(t.Context(), standing.Options{Store: s, File: filepath.Join(g.dir, "highwater.json"),
			Logger: slog.New(slog.DiscardHandler)})
		return err
	})
	reported(0)
	g.until(200)
}
