//go:build unix

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"github.com/sangate/sangate/pki/regularfile"
)

// TestCommandsReadPipes checks that a command takes a token from a pipe, as with
// --token-file <(pass show acme), up to the limit, and from no device.
func TestCommandsReadPipes(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	send := func(text string) {
		go func() { _ = os.WriteFile(fifo, []byte(text), 0o600) }() // ends when it was read
	}
	send("secret\n")
	if data, err := readInput(new(cobra.Command), fifo, 10); err != nil || string(data) != "secret\n" {
		t.Errorf("readInput(pipe) = %q, %v, want the token", data, err)
	}
	send(strings.Repeat("a", 11))
	if _, err := readInput(new(cobra.Command), fifo, 10); !errors.Is(err, regularfile.ErrTooLarge) {
		t.Errorf("readInput(11 bytes, limit 10) = %v, want ErrTooLarge", err)
	}
	for _, name := range []string{"/dev/zero", filepath.Dir(fifo)} {
		if _, err := readInput(new(cobra.Command), name, 10); !errors.Is(err, regularfile.ErrNotRegular) {
			t.Errorf("readInput(%s) = %v, want ErrNotRegular", name, err)
		}
	}
	cmd := new(cobra.Command)
	cmd.SetIn(strings.NewReader(strings.Repeat("a", 11)))
	if _, err := readInput(cmd, "-", 10); !errors.Is(err, regularfile.ErrTooLarge) {
		t.Errorf("readInput(standard input of 11 bytes, limit 10) = %v, want ErrTooLarge", err)
	}
}
