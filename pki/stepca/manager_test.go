package stepca

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.step.sm/crypto/keyutil"
)

// smallstep's TLSRenewer keeps the key in memory only: a restart needs a token.
func TestManagerSurvivesRestart(t *testing.T) {
	onBench(t, time.Hour, func(t *testing.T, b *bench, opts ManagerOptions) {
		first := b.run(opts, time.Hour)
		n := len(b.calls)
		second, err := newManager(b, opts)
		if err != nil {
			t.Fatal(err)
		}
		crt := second.Certificate()
		if crt == nil || !crt.Leaf.Equal(first.Certificate().Leaf) || !keyutil.Equal(crt.PrivateKey, first.Certificate().PrivateKey) {
			t.Error("another certificate or key after a restart")
		}
		if len(b.calls) != n || slices.Contains(b.calls, OpEnrol) {
			t.Errorf("asked for %q", b.calls)
		}
		select {
		case <-second.Ready():
		default:
			t.Error("not ready")
		}
	})
}

// It keeps one key for ever.
func TestManagerRotatesKeys(t *testing.T) {
	for _, keep := range []bool{false, true} {
		onBench(t, time.Hour, func(t *testing.T, b *bench, opts ManagerOptions) {
			opts.KeepKey = keep
			opts.RootsEvery = 1000 * time.Hour
			b.run(opts, 4*time.Hour)
			if b.asked != 1+len(b.keys) { // at the start, and with each renewal
				t.Errorf("KeepKey %v: asked for the roots %d times", keep, b.asked)
			}
			if len(b.keys) < 5 || b.changes < 5 {
				t.Fatalf("%d renewals, %d notices in four hours", len(b.keys), b.changes)
			}
			for i := 1; i < len(b.keys); i++ {
				if keyutil.Equal(b.keys[i-1], b.keys[i]) != keep {
					t.Errorf("KeepKey %v: key %d", keep, i)
				}
			}
		})
	}
}

// It gives up a renewal when the roots cannot be fetched.
func TestManagerRenewsWithoutRoots(t *testing.T) {
	onBench(t, time.Hour, func(t *testing.T, b *bench, opts ManagerOptions) {
		b.down = only(errDown, OpRoots)
		m := b.run(opts, time.Hour)
		if !slices.Equal(b.calls, []Op{OpRekey}) {
			t.Errorf("asked for %q", b.calls)
		}
		if m.Certificate() == nil || m.Certificate().Leaf.SerialNumber.Int64() != 2 {
			t.Error("not renewed")
		}
		if f := b.failed(); len(f) == 0 || slices.ContainsFunc(f, func(op Op) bool { return op != OpRoots }) {
			t.Errorf("told of %q", f)
		}
	})
}

// It computes the time of renewal once, from the first certificate: a shorter
// one that follows is renewed in a loop without a pause.
func TestManagerShorterCertificate(t *testing.T) {
	onBench(t, 24*time.Hour, func(t *testing.T, b *bench, opts ManagerOptions) {
		b.validity = 10 * time.Minute
		b.run(opts, 18*time.Hour)
		first := slices.IndexFunc(b.at, func(time.Time) bool { return true })
		for i := first + 1; i < len(b.at); i++ {
			if gap := b.at[i].Sub(b.at[i-1]); gap < 6*time.Minute || gap > 7*time.Minute {
				t.Fatalf("renewal %d after %v", i, gap)
			}
		}
		if len(b.at) < 10 {
			t.Errorf("%d renewals", len(b.at))
		}
	})
}

// A first certificate that no client of a server takes is not one.
//
// Holds: authority/worse-renewal
func TestManagerWantsServerCertificate(t *testing.T) {
	onBench(t, time.Hour, func(t *testing.T, b *bench, opts ManagerOptions) {
		if err := os.RemoveAll(opts.Dir); err != nil {
			t.Fatal(err)
		}
		b.usages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		b.run(opts, time.Minute)
		if len(b.calls) == 0 || b.calls[0] != OpEnrol || len(b.events) == 0 {
			t.Fatalf("calls %v, %d events", b.calls, len(b.events))
		}
		for _, e := range b.events {
			if e.Op == OpEnrol && (!errors.Is(e.Err, ErrVet) || !strings.Contains(e.Err.Error(), "serverAuth")) {
				t.Errorf("%+v, want ErrVet that tells of serverAuth", e)
			}
		}
	})
}

// It says nothing when a renewal fails, and serves what has expired.
func TestManagerThroughOutage(t *testing.T) {
	onBench(t, time.Hour, func(t *testing.T, b *bench, opts ManagerOptions) {
		start := time.Now()
		b.down = func(Op) error {
			if time.Since(start) < 2*time.Hour+30*time.Minute { // three times past renewal
				return errDown
			}
			return nil
		}
		m, err := newManager(b, opts)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		time.Sleep(59 * time.Minute)
		if m.Certificate() == nil {
			t.Error("a certificate that is good still is not shown")
		}
		time.Sleep(2 * time.Minute)
		if m.Certificate() != nil {
			t.Error("a certificate that has ended is shown")
		}
		if f := b.failed(); !slices.Contains(f, OpRekey) || !slices.Contains(f, OpRoots) || !slices.Contains(f, OpEnrol) {
			t.Errorf("told of %q", f)
		}
		time.Sleep(91 * time.Minute)
		if m.Certificate() == nil {
			t.Error("not recovered two minutes after the authority")
		}
		if b.calls[len(b.calls)-1] != OpRenew {
			t.Errorf("recovered by %q, though the authority renews after expiry", b.calls[len(b.calls)-1])
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestManagerExpiredAtStart(t *testing.T) {
	tests := []struct {
		name   string
		down   func(Op) error
		enrols bool
		want   []Op // the first of what is asked for
		good   bool
	}{
		{"the authority renews", nil, true, []Op{OpRenew}, true},
		{"it does not, enrolled again", only(errDown, OpRenew), true, []Op{OpRenew, OpEnrol}, true},
		{"neither", only(errDown, OpRenew, OpEnrol), true, []Op{OpRenew, OpEnrol, OpRenew}, false},
		{"no way to enrol", only(errDown, OpRenew), false, []Op{OpRenew, OpRenew}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onBench(t, time.Minute, func(t *testing.T, b *bench, opts ManagerOptions) {
				time.Sleep(time.Hour)
				b.validity, b.down = time.Hour, tt.down
				if !tt.enrols {
					opts.Enroller = nil
				}
				if m, err := newManager(b, opts); err != nil || m.Certificate() != nil {
					t.Fatalf("%v, or an ended certificate is shown", err)
				}
				m := b.run(opts, 5*time.Minute)
				if got := b.calls[:min(len(b.calls), len(tt.want))]; !slices.Equal(got, tt.want) || (m.Certificate() != nil) != tt.good {
					t.Errorf("asked for %q, certificate %v", b.calls, m.Certificate() != nil)
				}
			})
		})
	}
}

// An authority that needs most of an attempt's time is waited for; one that
// needs more is asked again, and a stop is heard at once.
func TestManagerSlowAuthority(t *testing.T) {
	onBench(t, time.Hour, func(t *testing.T, b *bench, opts ManagerOptions) {
		b.takes = 55 * time.Second
		if b.run(opts, time.Hour); !slices.Equal(b.calls, []Op{OpRekey}) || len(b.failed()) != 0 {
			t.Errorf("asked for %q, failed %q", b.calls, b.failed())
		}
	})
	onBench(t, time.Hour, func(t *testing.T, b *bench, opts ManagerOptions) {
		b.takes = time.Hour
		start := time.Now()
		m := b.run(opts, 50*time.Minute)
		if len(b.calls) < 2 || !errors.Is(b.events[0].Err, context.DeadlineExceeded) || m.Certificate() == nil {
			t.Errorf("asked for %q", b.calls)
		}
		if took := time.Since(start); took != 50*time.Minute {
			t.Errorf("stopped after %v", took)
		}
	})
}

// Other names in the configuration: enrolled again; where that does not work,
// what there is stays in force and alive.
func TestManagerWantsOtherNames(t *testing.T) {
	onBench(t, time.Hour, func(t *testing.T, b *bench, opts ManagerOptions) {
		opts.Request.SANs = []string{"other.internal"}
		if b.run(opts, 10*time.Minute); !slices.Equal(b.calls, []Op{OpEnrol}) {
			t.Errorf("asked for %q", b.calls)
		}
	})
	onBench(t, time.Hour, func(t *testing.T, b *bench, opts ManagerOptions) {
		opts.Request.SANs = []string{"other.internal"}
		b.down = only(errDown, OpEnrol)
		m := b.run(opts, 55*time.Minute)
		if m.Certificate() == nil || b.calls[0] != OpEnrol || !slices.Contains(b.calls, OpRekey) {
			t.Errorf("asked for %q", b.calls)
		}
	})
	onBench(t, time.Hour, func(t *testing.T, b *bench, opts ManagerOptions) {
		opts.Request.SANs = []string{"gate"}
		if b.run(opts, 10*time.Minute); len(b.calls) != 0 {
			t.Errorf("asked for %q", b.calls)
		}
	})
}

// A key in a KMS stays there: no file holds it, and it is kept.
func TestManagerKMS(t *testing.T) {
	onBench(t, time.Hour, func(t *testing.T, b *bench, opts ManagerOptions) {
		opts.KeyURI = "softkms:path=" + filepath.Join(opts.Dir, "hsm.pem")
		m := b.run(opts, 4*time.Hour) // the first renewal moves the file's key out
		if b.calls[0] != OpRekey || slices.Contains(b.calls[1:], OpRekey) || len(b.calls) < 4 {
			t.Errorf("asked for %q", b.calls)
		}
		if left, _ := filepath.Glob(opts.Dir + "/v-*/" + keyName); len(left) != 0 {
			t.Errorf("keys in files: %q", left)
		}
		pair, err := m.store.Load()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pair.KeyPEM(); !errors.Is(err, ErrHeldKey) {
			t.Errorf("exported: %v", err)
		}
		again, err := newManager(b, opts)
		if err != nil || !again.Certificate().Leaf.Equal(m.Certificate().Leaf) {
			t.Errorf("after a restart: %v", err)
		}
		opts.KeyURI = ""
		if _, err := newManager(b, opts); err == nil {
			t.Error("loaded without the URI that names the key")
		}
		if info, err := os.Stat(filepath.Join(opts.Dir, "hsm.pem")); err != nil || info.Mode() != 0o600 {
			t.Errorf("the soft key: %v, %v", info, err)
		}
	})
}

func TestManagerRefuses(t *testing.T) {
	b := &bench{t: t}
	damaged := t.TempDir()
	if err := os.MkdirAll(filepath.Join(damaged, "v-00000001-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, opts := range map[string]ManagerOptions{
		"no folder":                      {Enroller: b},
		"nothing there, no way to enrol": {Dir: t.TempDir()},
		"damaged":                        {Dir: damaged, Enroller: b},
		"renewal beyond the end":         {Dir: t.TempDir(), Enroller: b, RenewAt: 1.5},
	} {
		if _, err := newManager(b, opts); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
