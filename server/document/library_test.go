package document

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/httptool"
	"github.com/sangate/sangate/server/openapi"
)

const text = `{"openapi":"3.0.3","info":{"title":"x","version":"1"},"servers":[{"url":"https://a.example"}],
	"paths":{"/a":{"get":{"operationId":"a","responses":{}}}}}`

// fails is an importer that makes no tool.
func fails(run func() error) importer {
	return func(context.Context, *slog.Logger, []byte, openapi.Options) ([]*httptool.Program, []openapi.Skipped, error) {
		return nil, nil, run()
	}
}

func library(changed func()) *Library {
	return New(Options{Logger: slog.New(slog.DiscardHandler), Now: time.Now, Changed: changed})
}

func source(t *testing.T, names ...string) Source {
	t.Helper()
	src := Source{State: t.TempDir(), Hide: func(err error) error { return err }, Show: func(s string) string { return s }}
	for _, name := range names {
		file := filepath.Join(src.State, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		conf := config.OpenAPI{Name: name, Document: config.Path(file), Operations: []string{"*"}}
		src.Documents = append(src.Documents, conf)
	}
	return src
}

// TestImportThatDoesNotEnd checks that neither a start, nor a reload, nor the end of
// Run waits for an import that ignores its context, and that no other runs beside it.
//
// Holds: document/openapi-contained
func TestImportThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := library(func() {})
		end := make(chan struct{})
		var runs, atOnce atomic.Int32
		l.importer = fails(func() error {
			runs.Add(1)
			atOnce.Store(max(atOnce.Load(), int32(len(l.slot))))
			<-end
			return errors.New("late")
		})
		plan := l.Prepare(source(t, "slow", "other"))
		began := time.Now()
		limited, stop := context.WithTimeout(t.Context(), time.Second)
		plan.Import(limited)
		stop()
		if took := time.Since(began); took > time.Second {
			t.Errorf("Import took %s after its context had ended", took-time.Second)
		}
		plan.Commit()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); l.Run(ctx) }()
		time.Sleep(2*importLimit + time.Second)
		for _, r := range l.Results() {
			if !strings.Contains(r.Problem, "not imported within") {
				t.Errorf("%s: problem %q, want the time limit", r.Name, r.Problem)
			}
		}
		if runs.Load() != 1 || atOnce.Load() != 1 {
			t.Errorf("%d imports began, %d at once, want 1: the slow one goes on", runs.Load(), atOnce.Load())
		}
		cancel()
		<-done // within the bubble: it would be a deadlock if Run waited
		close(end)
	})
}

// TestPanicKeepsTools checks that a panic of an import keeps what there is, and that
// the next text is imported.
//
// Holds: document/openapi-contained
func TestPanicKeepsTools(t *testing.T) {
	changes := 0
	l := library(func() { changes++ })
	src := source(t, "a")
	plan := l.Prepare(src)
	plan.Import(t.Context())
	plan.Commit()
	write := func(text string) {
		if err := os.WriteFile(string(src.Documents[0].Document), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l.Wake()
		l.pass(t.Context())
	}
	good := l.importer
	l.importer = fails(func() error { panic("bad document") })
	write(text + " ")
	if r := l.Results()[0]; len(r.Tools) != 1 || !strings.Contains(r.Problem, "panicked") || changes != 0 {
		t.Errorf("after a panic: %d tools, problem %q, %d changes, want 1 tool kept",
			len(r.Tools), r.Problem, changes)
	}
	l.importer = good
	write(strings.ReplaceAll(text, `"a"`, `"b"`))
	if r := l.Results()[0]; len(r.Tools) != 1 || r.Tools[0].Name() != "b" || r.Problem != "" || changes != 1 {
		t.Errorf("after the next text: %+v, %d changes", r, changes)
	}
}

// TestBadTextImportedOnce checks that a text that cannot be imported costs once, however
// often it is looked at.
func TestBadTextImportedOnce(t *testing.T) {
	l := library(func() {})
	runs := 0
	l.importer = fails(func() error {
		runs++
		return errors.New("bad")
	})
	plan := l.Prepare(source(t, "a"))
	plan.Import(t.Context())
	plan.Commit()
	for range 5 {
		l.Wake()
		l.pass(t.Context())
	}
	if r := l.Results()[0]; runs != 1 || r.Problem != "bad" {
		t.Errorf("%d imports, problem %q, want 1 and bad", runs, r.Problem)
	}
}

// TestLongProblemIsCut checks that what quotes a document is not told at its length: it
// stands in /readyz and in the console.
func TestLongProblemIsCut(t *testing.T) {
	l := library(func() {})
	l.importer = fails(func() error { return errors.New(strings.Repeat("a", 1<<20)) })
	plan := l.Prepare(source(t, "long"))
	plan.Import(t.Context())
	plan.Commit()
	for _, r := range l.Results() {
		if n := len(r.Problem); n == 0 || n > 2*maxProblem {
			t.Errorf("%s: a problem of %d bytes", r.Name, n)
		}
	}
}
