package server

import (
	"io"
	"log/slog"
	"net"
	"testing"
)

// TestPanicClosesOneConnection holds that what panics while it serves a stranger
// ends the connection and nothing else.
//
// Holds: stranger/panic-contained
func TestPanicClosesOneConnection(t *testing.T) {
	theirs, ours := net.Pipe()
	l := &listener{log: slog.New(slog.DiscardHandler)}
	l.contained(&connection{Conn: ours, closed: func() {}}, func() { panic("broken") })
	if _, err := theirs.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("reading from the connection: %v, want %v", err, io.EOF)
	}
}
