package stepca

import (
	"context"
	"time"
)

// An Issuer replaces certificates; a [*Client] is one. Renew keeps the key and
// is also asked after expiry, Rekey makes a new key and is not.
type Issuer interface {
	Renew(ctx context.Context, old *Pair) (*Pair, error)
	Rekey(ctx context.Context, old *Pair) (*Pair, error)
}

// A Store keeps one pair. Load returns an error that is [fs.ErrNotExist] when
// there is none yet. [Files] is one.
type Store interface {
	Load() (*Pair, error)
	Save(*Pair) error
}

// Files is a [Store] of a certificate file and a key file.
type Files struct{ Cert, Key string }

// Load reads the pair and mends what a crash left half replaced.
func (f Files) Load() (*Pair, error) {
	pair, torn, err := readFiles(f.Cert, f.Key)
	if err == nil && torn {
		err = pair.WriteFiles(f.Cert, f.Key)
	}
	return pair, err
}

// Save replaces both files; see [Pair.WriteFiles].
func (f Files) Save(p *Pair) error { return p.WriteFiles(f.Cert, f.Key) }

// An Op is what a [Renewer] tried.
type Op string

// The operations of a [Renewer].
const (
	OpRenew Op = "renew"
	OpRekey Op = "rekey"
	OpEnrol Op = "enrol"
	OpSave  Op = "save"  // of a certificate that could not be written before
	OpRoots Op = "roots" // a [Manager]'s, told only where it failed
)

// An Event is one finished attempt.
type Event struct {
	Op       Op
	Err      error     // nil: done
	NotAfter time.Time // of the certificate now held, zero when there is none
	Next     time.Time // when the next attempt or renewal is planned
}

// Result returns ok or error, a metric's label.
func (e Event) Result() string {
	if e.Err != nil {
		return "error"
	}
	return "ok"
}
