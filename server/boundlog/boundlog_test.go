package boundlog_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/server/boundlog"
)

// TestValuesAreCut: no value of any kind gets into a line whole where it is long,
// nor with control characters.
//
// Holds: stranger/log-values
func TestValuesAreCut(t *testing.T) {
	long := strings.Repeat("x", 625_000)
	for name, value := range map[string]any{
		"string": long, "error": errors.New(long), "strings": []string{long, long}, "bytes": []byte(long),
		"struct": struct{ A string }{long}, "group": slog.GroupValue(slog.String("a", long)), "control": "a\x1b[2J\nb\u202e" + long,
	} {
		var out bytes.Buffer
		log := slog.New(boundlog.New(slog.NewTextHandler(&out, nil)))
		log.Info("said", "value", value)
		log.With("value", value).WithGroup("g").Info(long)
		if out.Len() > 8<<10 {
			t.Errorf("%s: %d bytes in two lines", name, out.Len())
		}
		if strings.ContainsAny(out.String(), "\x1b\u202e") || strings.Count(out.String(), "\n") != 2 {
			t.Errorf("%s: control characters in %.100q", name, out.String())
		}
	}
}

// TestRepeatedLinesAreCounted: a thousand lines of one message in a second are
// ten and their number; another message is not held back by them.
//
// Holds: stranger/log-volume
func TestRepeatedLinesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(boundlog.NewRepeated(slog.NewTextHandler(&out, nil)))
		for range 1_000 {
			log.Info("handshake refused", "err", "x")
		}
		log.Info("another")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 12 || !strings.HasSuffix(lines[11], `msg="handshake refused" more=990`) || !strings.HasSuffix(lines[10], "msg=another") {
			t.Errorf("got %d lines, the last two %q", len(lines), lines[max(0, len(lines)-2):])
		}
		log.Info("handshake refused", "err", "y")
		if !strings.HasSuffix(out.String(), "err=y\n") {
			t.Error("a line of the next second is missing")
		}
	})
}

// Lines of one client do not take the place of another's.
//
// Holds: client/refusals-log
func TestRepeatedLinesOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(boundlog.NewRepeated(slog.NewTextHandler(&out, nil)))
		for range 1_000 {
			log.Info("request refused", "tenant", "acme", "serial", "1")
			log.Info("request refused", "tenant", "", "serial", "2")
		}
		log.Info("request refused", "tenant", "globex", "serial", "3")
		log.Info("request refused", "tenant", "", "serial", "4")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		text := out.String()
		for want, n := range map[string]int{"tenant=acme": 11, "serial=2": 11, "tenant=globex": 1, "serial=4": 1, "more=990": 2} {
			if got := strings.Count(text, want); got != n {
				t.Errorf("%d lines with %s, want %d", got, want, n)
			}
		}
	})
}
