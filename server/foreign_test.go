package server_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
)

// TestForeignOriginLinesAreCounted: many requests of a foreign Origin write a few lines
// a second and the number of the others, so that none is lost and the log stays small.
//
// Holds: client/foreign-origin-log
func TestForeignOriginLinesAreCounted(t *testing.T) {
	t.Parallel()
	const requests = 300
	var log lockedBuffer
	g := servertest.Start(t, servertest.Options{Log: &log})
	client := g.Client(g.Cert("acme"), servertest.HTTP1)
	for range requests {
		res := ask(t, client, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("acme"), "Origin: https://evil.example")
		if res.StatusCode != http.StatusForbidden {
			t.Fatalf("foreign Origin: %s, want 403", res.Status)
		}
	}
	var lines, total int
	count := func() bool {
		lines, total = 0, 0
		for scan := bufio.NewScanner(strings.NewReader(log.String())); scan.Scan(); {
			var line struct {
				Msg  string
				More int
			}
			if json.Unmarshal(scan.Bytes(), &line) != nil || line.Msg != "request of a foreign Host or Origin refused" {
				continue
			}
			if lines++; line.More > 0 {
				total += line.More
			} else {
				total++
			}
		}
		return total == requests
	}
	if !servertest.WaitFor(count, 10*time.Second) {
		t.Errorf("lines tell of %d requests, want %d", total, requests)
	}
	if lines > requests/2 {
		t.Errorf("%d lines for %d requests", lines, requests)
	}
}
