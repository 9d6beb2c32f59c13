package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sangate/sangate/server/store"
)

func TestRevocations(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	add := func(entry string) (store.Revocation, bool) {
		t.Helper()
		r, added, err := s.AddRevocation(t.Context(), store.Revocation{Entry: entry, Comment: "c", CreatedBy: "ops"})
		if err != nil {
			t.Fatal(err)
		}
		return r, added
	}
	first, added := add("serial:01")
	if !added || first.ID == 0 || first.Entry != "serial:01" || first.Comment != "c" || first.CreatedBy != "ops" || time.Since(first.CreatedAt) > time.Minute {
		t.Fatalf("added %t %+v", added, first)
	}
	if again, added := add("serial:01"); added || again != first {
		t.Errorf("added twice: %+v", again)
	}
	second, _ := add("serial:02")
	list, err := open(t, dir).Revocations(t.Context()) // another process's eyes
	if err != nil || len(list) != 2 || list[0] != first || list[1] != second {
		t.Fatalf("%+v %v", list, err)
	}
	gone, err := s.DeleteRevocation(t.Context(), second.ID)
	if err != nil || gone != second {
		t.Errorf("deleted %+v %v", gone, err)
	}
	if _, err := s.DeleteRevocation(t.Context(), second.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	if third, _ := add("serial:03"); third.ID == second.ID {
		t.Error("an id was given twice")
	}
}

func TestRevocationsAreBounded(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := raw(t, dir).Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ?)
		INSERT INTO revocations (entry, created_at) SELECT 'serial:' || i, 0 FROM n`, store.MaxRevocations); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.AddRevocation(t.Context(), store.Revocation{Entry: "serial:ff"}); !errors.Is(err, store.ErrFull) {
		t.Errorf("one more: %v", err)
	}
	if r, added, err := s.AddRevocation(t.Context(), store.Revocation{Entry: "serial:7"}); err != nil || added || r.Entry != "serial:7" {
		t.Errorf("one that is there: %+v %t %v", r, added, err)
	}
}
