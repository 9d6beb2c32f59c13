package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/dev"
)

// Every command line in a console block of README and docs is one that is run:
// make targets by CI, lines that ask a gate by TestDev as `sangate dev` prints
// them, other sangate lines here, in a folder that `sangate dev` made.
func TestDocsAreRun(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, "../../README.md")
	var printed bytes.Buffer
	welcome(&printed, dev.Gate{Dir: "certs-dev", URL: "https://127.0.0.1:8443", AdminURL: "http://127.0.0.1:9090", CAURL: "https://127.0.0.1:9443"})
	ci, err := os.ReadFile("../../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	byProgram := make(map[string]int)
	var ours []string
	for _, page := range pages {
		for _, line := range consoleLines(t, page) {
			program, _, _ := strings.Cut(line, " ")
			byProgram[program]++
			switch program {
			case "make": // make dev is make certs-dev and then what TestDev does
				if line != "make dev" && !strings.Contains(string(ci), line) {
					t.Errorf("%s: %q is not run by CI", page, line)
				}
			case "sangate":
				if !strings.Contains(line, "https://127.0.0.1:8443") {
					ours = append(ours, line)
					break
				}
				fallthrough // which asks a gate that runs
			case "curl":
				if !strings.Contains(printed.String(), line+"\n") {
					t.Errorf("%s: not a line that `sangate dev` prints: %s", page, line)
				}
			default:
				t.Errorf("%s: nobody runs %q", page, line)
			}
		}
	}
	if byProgram["make"] == 0 || byProgram["curl"] == 0 || byProgram["sangate"] == 0 {
		t.Errorf("the pages have %v; have they moved?", byProgram)
	}
	runDocumented(t, ours)
}

func runDocumented(t *testing.T, lines []string) {
	dir := t.TempDir()
	var errs bytes.Buffer
	if code := run(t.Context(), []string{"dev", "--once", "--dir", dir, "--ca", "127.0.0.1:0"}, nil, &errs, &errs); code != 0 {
		t.Fatalf("dev --once: %d\n%s", code, errs.String())
	}
	t.Chdir(dir)
	for _, line := range lines {
		t.Run(line, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			args := strings.Fields(line)[1:]
			stderr := &watchedBuffer{word: "msg=serving", seen: cancel}
			if args[0] == "serve" {
				args = append(args, "--set", "listen=127.0.0.1:0", "--set", "admin=127.0.0.1:0")
			}
			var stdout bytes.Buffer
			if code := run(ctx, args, nil, &stdout, stderr); code != 0 {
				t.Errorf("exit %d\n%s", code, stderr.String())
			}
			if args[0] == "serve" && !strings.Contains(stderr.String(), stderr.word) {
				t.Errorf("did not serve\n%s", stderr.String())
			}
		})
	}
}

// A watchedBuffer calls seen once word was written to it.
type watchedBuffer struct {
	logBuffer
	word string
	seen func()
}

func (b *watchedBuffer) Write(p []byte) (int, error) {
	n, err := b.logBuffer.Write(p)
	if strings.Contains(b.String(), b.word) {
		b.seen()
	}
	return n, err
}

// consoleLines returns the lines of a page's console blocks; a line that ends
// in a backslash goes on in the next.
func consoleLines(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	inside := false
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case inside && line != "":
			lines = append(lines, line)
		}
	}
	return lines
}
