package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/sangate/sangate/pki/regularfile"
)

// readInput reads at most limit bytes of a file, of standard input if file is "-", or
// of a pipe such as <(command). It is for what a person passes to a command; the
// configuration is read by package regularfile alone.
func readInput(cmd *cobra.Command, file string, limit int64) ([]byte, error) {
	if file == "-" || file == "/dev/stdin" {
		return readStream(cmd.InOrStdin(), "standard input", limit)
	}
	data, err := regularfile.Read(file, limit)
	if !errors.Is(err, regularfile.ErrNotRegular) {
		return data, err
	}
	if info, statErr := os.Stat(file); statErr != nil || info.Mode().Type() != fs.ModeNamedPipe {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readStream(f, file, limit)
}

func readStream(r io.Reader, name string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: %w: larger than %d bytes", name, regularfile.ErrTooLarge, limit)
	}
	return data, err
}
