package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// systemd is told when the gate serves, at each third of the watchdog's time that
// it is alive, and when it stops; and log is taken while it runs.
func TestServeTellsSystemd(t *testing.T) {
	dir := t.TempDir()
	if code, _, errs := sangate(t, "", "dev", "--once", "--dir", dir, "--ca", "127.0.0.1:0"); code != 0 {
		t.Fatal(errs)
	}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", socket.LocalAddr().String())
	t.Setenv("WATCHDOG_USEC", "300000")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	file := filepath.Join(dir, "sangate.yaml")
	edit := func(level, format string) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := slices.DeleteFunc(strings.SplitAfter(string(text), "\n"), func(l string) bool { return strings.HasPrefix(l, "log:") })
		if err := os.WriteFile(file, []byte(strings.Join(lines, "")+"log: {level: "+level+", format: "+format+"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit("error", "text")
	var stderr logBuffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--config", file, "--set", "listen=127.0.0.1:0", "--set", "admin=127.0.0.1:0"}, strings.NewReader(""), &stderr, &stderr)
	}()
	next := func() string {
		t.Helper()
		buf := make([]byte, 256)
		if err := socket.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := socket.Read(buf)
		if err != nil {
			t.Fatalf("nothing is told: %v\n%s", err, stderr.String())
		}
		return string(buf[:n])
	}
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := next(); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	if text := stderr.String(); text != "" {
		t.Errorf("at level error it says\n%s", text)
	}
	edit("info", "json")
	const reloaded = `"msg":"configuration reloaded"`
	for end := time.Now().Add(10 * time.Second); !strings.Contains(stderr.String(), reloaded) && time.Now().Before(end); {
		next() // the watchdog's pace
	}
	if !strings.Contains(stderr.String(), reloaded) {
		t.Errorf("level and format are not taken:\n%s", stderr.String())
	}
	cancel()
	for got := next(); got != "STOPPING=1"; got = next() {
		if got != "WATCHDOG=1" {
			t.Fatalf("told %q at the end", got)
		}
	}
	if code := <-ended; code != 0 {
		t.Errorf("exit %d\n%s", code, stderr.String())
	}
}

// A hangup does not end a gate that waits for its first certificate.
func TestHangupBeforeTheFirstCertificate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sangate.yaml")
	config := fmt.Sprintf("state: state\ntls: {stepCA: {url: \"https://127.0.0.1:1\", fingerprint: %064d, provisioner: p, tokenFile: token, sans: [gate.internal]}}\n"+
		"tenants: [{id: acme, sans: [\"dns:acme.internal\"]}]\nlog: {format: text}\n", 0)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stderr logBuffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--config", file, "--set", "listen=127.0.0.1:0", "--set", "admin=127.0.0.1:0"}, strings.NewReader(""), &stderr, &stderr)
	}()
	tried := func(n int) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); strings.Count(stderr.String(), "not renewed, will try again") < n; time.Sleep(10 * time.Millisecond) {
			if len(ended) > 0 || time.Now().After(end) {
				t.Fatalf("it does not go on trying:\n%s", stderr.String())
			}
		}
	}
	tried(1)
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil { // which ends this process where nobody takes it
		t.Fatal(err)
	}
	tried(2)
	cancel()
	<-ended
}
