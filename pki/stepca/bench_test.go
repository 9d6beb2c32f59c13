package stepca

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.step.sm/crypto/minica"
)

// A bench is a Manager over an authority in memory and a real folder, in a
// bubble whose clock runs as fast as nothing happens.
type bench struct {
	t        *testing.T
	ca       *minica.CA
	roots    []*x509.Certificate // what the authority names
	trusted  []*x509.Certificate
	validity time.Duration
	usages   []x509.ExtKeyUsage
	serial   int64

	down  func(op Op) error // nil: never
	takes time.Duration     // of one call
	mu    sync.Mutex        // of what follows, and trusted
	calls []Op
	at    []time.Time
	keys  []crypto.PublicKey
	asked int // for the roots

	events  []Event
	changes int
}

func (b *bench) answer(ctx context.Context, op Op, key crypto.Signer) (*Pair, error) {
	b.mu.Lock()
	b.calls, b.at = append(b.calls, op), append(b.at, time.Now())
	b.mu.Unlock()
	select {
	case <-time.After(b.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if b.down != nil {
		if err := b.down(op); err != nil {
			return nil, err
		}
	}
	if key == nil {
		key, _ = ECP256.generate()
	}
	b.keys = append(b.keys, key.Public())
	return b.issue(key), nil
}

// issue is dated back by a minute, as step-ca does.
func (b *bench) issue(key crypto.Signer) *Pair {
	b.t.Helper()
	b.serial++
	crt, err := b.ca.Sign(&x509.Certificate{
		SerialNumber: big.NewInt(b.serial), PublicKey: key.Public(), Subject: pkix.Name{CommonName: "gate"}, DNSNames: []string{"gate"}, ExtKeyUsage: b.usages,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(b.validity),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	pair, err := NewPair([]*x509.Certificate{crt, b.ca.Intermediate}, key)
	if err != nil {
		b.t.Fatal(err)
	}
	return pair
}

func (b *bench) Renew(ctx context.Context, old *Pair) (*Pair, error) {
	return b.answer(ctx, OpRenew, old.Key())
}
func (b *bench) Rekey(ctx context.Context, _ *Pair) (*Pair, error) {
	return b.answer(ctx, OpRekey, nil)
}
func (b *bench) RekeyTo(ctx context.Context, _ *Pair, key crypto.Signer) (*Pair, error) {
	return b.answer(ctx, OpRekey, key)
}
func (b *bench) Enrol(ctx context.Context, req Request) (*Pair, error) {
	return b.answer(ctx, OpEnrol, req.Signer)
}
func (b *bench) Roots(context.Context) ([]*x509.Certificate, error) {
	b.mu.Lock()
	b.asked++
	b.mu.Unlock()
	if b.down != nil {
		if err := b.down(OpRoots); err != nil {
			return nil, err
		}
	}
	return b.roots, nil
}
func (b *bench) Federation(context.Context) ([]*x509.Certificate, error) { return nil, nil }
func (b *bench) Trust(roots []*x509.Certificate) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trusted = union(b.trusted, roots)
}
func (b *bench) known() []*x509.Certificate {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.trusted
}
func (b *bench) pin() [32]byte { return [32]byte{} }

// only makes down say err for these operations.
func only(err error, ops ...Op) func(Op) error {
	return func(op Op) error {
		if slices.Contains(ops, op) {
			return err
		}
		return nil
	}
}

var errDown = errors.New("down")

// onBench runs f in a bubble whose clock starts at the real time, with a
// certificate of that validity in the folder.
func onBench(t *testing.T, validity time.Duration, f func(t *testing.T, b *bench, opts ManagerOptions)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, ca: newMinica(t), validity: validity}
		b.roots = []*x509.Certificate{b.ca.Root}
		key, err := ECP256.generate()
		if err != nil {
			t.Fatal(err)
		}
		if err := (Folder{Dir: dir}).Save(b.issue(key)); err != nil {
			t.Fatal(err)
		}
		f(t, b, ManagerOptions{Dir: dir, Enroller: b, OnEvent: func(e Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
		}})
	})
}

// run starts a Manager for so long.
func (b *bench) run(opts ManagerOptions, long time.Duration) *Manager {
	b.t.Helper()
	m, err := newManager(b, opts)
	if err != nil {
		b.t.Fatal(err)
	}
	m.Notify(func() { b.changes++ })
	ctx, cancel := context.WithTimeout(b.t.Context(), long)
	defer cancel()
	if err := m.Run(ctx); err != nil {
		b.t.Fatal(err)
	}
	return m
}

// failed returns the operations that were told to have failed.
func (b *bench) failed() (ops []Op) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		if e.Err != nil {
			ops = append(ops, e.Op)
		}
	}
	return ops
}
