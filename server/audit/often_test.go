package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/server/audit"
)

// counted returns for each identity of a log how many lines it has, and for how many
// records they stand.
func counted(t *testing.T, file string) (lines, records map[string]int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines, records = make(map[string]int), make(map[string]int)
	for l := range bytes.Lines(text) {
		var r audit.Record
		if err := json.Unmarshal(l, &r); err != nil {
			t.Fatal(err)
		}
		lines[r.Identity]++
		records[r.Identity] += max(r.Records, 1)
	}
	return lines, records
}

// A flood of refusals writes a line a second that says how many there were, and hides
// nothing of others nor of another reason.
//
// Holds: client/audit-flood
func TestFloodIsWrittenAsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "audit.jsonl")
		log, err := audit.Open(audit.Options{File: file})
		if err != nil {
			t.Fatal(err)
		}
		refused := func(identity, reason string) {
			log.WriteOften(&audit.Record{Kind: audit.Refused, Tenant: "acme", Identity: identity, Reason: reason})
		}
		const seconds, each = 10, 1000
		for range seconds {
			for range each {
				refused("flood", "locked_out")
			}
			refused("other", "locked_out")
			refused("flood2", "token_unknown")
			time.Sleep(time.Second)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		lines, records := counted(t, file)
		if lines["flood"] > 100+seconds+1 || records["flood"] != seconds*each {
			t.Errorf("%d lines for %d of %d records", lines["flood"], records["flood"], seconds*each)
		}
		if lines["other"] != seconds || lines["flood2"] != seconds {
			t.Errorf("%d lines of another identity and %d of another reason, want %d", lines["other"], lines["flood2"], seconds)
		}
	})
}

// What is not written yet is when the log is closed, and sorts without number stay bounded.
func TestFloodAtTheEnd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	log, err := audit.Open(audit.Options{File: file})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 10_000 {
		log.WriteOften(&audit.Record{Kind: audit.Refused, Tenant: "acme", Identity: fmt.Sprint(n)})
	}
	for range 500 {
		log.WriteOften(&audit.Record{Kind: audit.BadRequest, Tenant: "globex", Identity: "g", Outcome: "not_found"})
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	_, records := counted(t, file)
	total := 0
	for _, n := range records {
		total += n
	}
	if total != 10_500 || records["g"] != 500 {
		t.Errorf("%d records, %d of globex, want 10,500 and 500", total, records["g"])
	}
	info, err := os.Stat(file)
	if err != nil || info.Size() > 2<<20 {
		t.Errorf("%v, %v", info.Size(), err)
	}
}
