package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A logBuffer is read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startDev runs `sangate dev` on free ports until stop is called, and returns
// what it had printed when it was up.
func startDev(t *testing.T, dir string) (printed string, stop func() (code int, stderr string)) {
	t.Helper()
	var stdout, stderr logBuffer
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var code int
	go func() {
		defer close(ended)
		code = run(ctx, []string{"dev", "--dir", dir, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--ca", "127.0.0.1:0"},
			strings.NewReader(""), &stdout, &stderr)
	}()
	stop = func() (int, string) { cancel(); <-ended; return code, stderr.String() }
	t.Cleanup(func() { stop() })
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if out := stdout.String(); strings.HasSuffix(out, "Ctrl-C stops it.\n") {
			return out, stop
		}
		select {
		case <-ended:
			t.Fatalf("exit code %d: %s", code, stderr.String())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("it does not come up: %s%s", stdout.String(), stderr.String())
		}
	}
}

// bash runs a line as a user does who pastes it.
func bash(t *testing.T, line string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", line)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, stderr.String())
	}
	return string(out)
}

func decode[T any](t *testing.T, data string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(data), &v); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return v
}

// Every printed line is pasted as it stands, and does what is said above it.
func TestDevPrintsWhatWorks(t *testing.T) {
	for _, program := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	dir := filepath.Join(t.TempDir(), "certs dev")
	printed, stop := startDev(t, dir)
	var lines []string
	for line := range strings.Lines(printed) {
		if strings.HasPrefix(line, "  curl ") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 4 {
		t.Fatalf("%d curl lines, want 4:\n%s", len(lines), printed)
	}

	var names []string
	for _, tool := range decode[[]struct{ Name string }](t, bash(t, lines[0])) {
		names = append(names, tool.Name)
	}
	slices.Sort(names)
	if want := []string{"certificate_inspect", "echo", "gate_certificates", "whoami"}; !slices.Equal(names, want) {
		t.Errorf("tools %q, want %q", names, want)
	}

	type identity struct {
		Tenant, Identity string
		Factors          []string
	}
	who := decode[identity](t, bash(t, lines[1]))
	if who.Tenant != "acme" || who.Identity != "spiffe://dev.internal/tenant/acme/agent" || !slices.Equal(who.Factors, []string{"certificate", "api_key"}) {
		t.Errorf("whoami says %+v", who)
	}

	type called struct {
		ID     int
		Result struct {
			IsError           bool
			StructuredContent struct{ Message string }
			Content           []struct{ Type, Text string }
		}
	}
	echo := decode[called](t, bash(t, lines[2]))
	if echo.ID != 1 || echo.Result.IsError || echo.Result.StructuredContent.Message != "hello" || len(echo.Result.Content) != 1 {
		t.Errorf("echo over MCP says %+v", echo)
	}

	type refusal struct{ Error, Message, RequestID string }
	if no := decode[refusal](t, bash(t, lines[3])); no.Error != "forbidden" || no.Message == "" || no.RequestID == "" {
		t.Errorf("the last line says %+v", no)
	}

	_, line, _ := strings.Cut(printed, "  sangate doctor ")
	line, _, _ = strings.Cut(line, "\n")
	args := append([]string{"doctor"}, strings.Split(strings.TrimSuffix(bash(t, `printf '%s\n' `+line), "\n"), "\n")...)
	for _, run := range []struct { // the printed line, and what its flags add
		args []string
		code int
		want string
	}{
		{args, 0, "\nnothing is wrong\n"},
		{append(args, "--tool", "echo", "--tenant-header", "acme", "--json"), 0, `"good": true`},
		{append(args, "--tool", "zendesk_get_ticket"), 3, "\ntool_denied\n"},
		{append(args, "--tls-max", "1.2"), 3, "\nprotocol\n"},
		{append(args, "--tenant-header", "globex", "--json"), 3, `"finding": "header_mismatch"`},
	} {
		if code, out, _ := sangate(t, "", run.args...); code != run.code || !strings.Contains(out, run.want) || strings.Contains(out, "\x1b") {
			t.Errorf("%q: exit %d\n%s", run.args, code, out)
		}
	}
	statuses := []string{"200", "200", "200", "403"}
	for i, line := range lines {
		if got := bash(t, strings.TrimRight(line, "\n")+" -s -o /dev/null -w '%{http_code}'"); got != statuses[i] {
			t.Errorf("line %d: status %s, want %s", i+1, got, statuses[i])
		}
	}

	code, stderr := stop()
	if code != 0 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	for _, tenant := range []string{"acme", "globex"} {
		token, err := os.ReadFile(filepath.Join(dir, "clients", tenant+".token"))
		if err != nil {
			t.Fatal(err)
		}
		if secret := strings.TrimSpace(string(token)); len(secret) < 20 || strings.Contains(printed+stderr, secret[len(secret)-40:]) {
			t.Errorf("the key of %s is printed or logged", tenant)
		}
	}
}

func TestDevOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs-dev")
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"dev", "--once", "--dir", dir, "--ca", "127.0.0.1:0"}, strings.NewReader(""), &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	if out := stdout.String(); !strings.Contains(out, dir) || strings.Contains(out, "curl") || strings.Count(out, "\n") != 1 {
		t.Errorf("printed %q", out)
	}
	// It is a configuration that check accepts.
	if code := run(t.Context(), []string{"check", "--config", filepath.Join(dir, "sangate.yaml")}, strings.NewReader(""), io.Discard, &stderr); code != 0 {
		t.Errorf("check: exit code %d: %s", code, stderr.String())
	}
}

func TestDevRefuses(t *testing.T) {
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"an argument", []string{"here"}, exitUsage, "takes no argument"},
		{"an unknown flag", []string{"--port", "1"}, exitUsage, "--port"},
		{"an address that is none", []string{"--ca", "nowhere"}, exitFailed, "--ca"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			args := append([]string{"dev", "--dir", t.TempDir()}, tt.args...)
			code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
			if code != tt.code || !strings.Contains(stderr.String(), tt.want) || strings.Count(stderr.String(), "\n") != 1 || stdout.Len() > 0 {
				t.Errorf("exit code %d, want %d; %q %q, want one line with %q", code, tt.code, stdout.String(), stderr.String(), tt.want)
			}
		})
	}
}
