package stepca_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/pki/stepca"
	"github.com/sangate/sangate/pki/stepca/steptest"
)

func TestRenewerSchedule(t *testing.T) {
	tests := []struct {
		name string
		opts stepca.RenewerOptions
		op   stepca.Op
		at   float64 // latest share of the lifetime
	}{
		{"rekeys at two thirds", stepca.RenewerOptions{}, stepca.OpRekey, 2.0 / 3},
		{"keeps the key", stepca.RenewerOptions{KeepKey: true}, stepca.OpRenew, 2.0 / 3},
		{"at a third", stepca.RenewerOptions{RenewAt: 1.0 / 3}, stepca.OpRekey, 1.0 / 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			const day = 24 * time.Hour
			var start time.Time
			s, events := scenario(t, day, 3*day, tt.opts, func(*script, *stepca.RenewerOptions) { start = time.Now() })
			if len(s.calls) < 4 {
				t.Fatalf("%d renewals in three days", len(s.calls))
			}
			last := start
			for i, c := range s.calls {
				share := float64(c.at.Sub(last)) / float64(day)
				if share > tt.at+0.001 || share < tt.at-0.051 || c.op != tt.op {
					t.Errorf("renewal %d: %s at %.3f of the lifetime", i, c.op, share)
				}
				if events[i].Err != nil || events[i].Result() != "ok" || events[i].Op != tt.op {
					t.Errorf("event %d: %+v", i, events[i])
				}
				last = c.at
			}
		})
	}
}

// step-ca dates certificates a minute back; for short ones that must not turn
// into a storm of renewals.
func TestRenewerShortLifetime(t *testing.T) {
	s, _ := scenario(t, 30*time.Second, 10*time.Minute, stepca.RenewerOptions{}, nil)
	if n := len(s.calls); n < 25 || n > 40 {
		t.Errorf("%d renewals in ten minutes of a certificate of 30 s", n)
	}
	s, _ = scenario(t, 0, time.Minute, stepca.RenewerOptions{}, nil)
	if n := len(s.calls); n > 30 {
		t.Errorf("%d renewals in a minute of certificates without a future", n)
	}
}

func TestRenewerBacksOffAndRecovers(t *testing.T) {
	const day = 24 * time.Hour
	var recovers time.Time
	s, events := scenario(t, day, day, stepca.RenewerOptions{}, func(s *script, _ *stepca.RenewerOptions) {
		recovers = time.Now().Add(23 * time.Hour)
		s.down = func(stepca.Op) error {
			if time.Now().Before(recovers) {
				return errDown
			}
			return nil
		}
	})
	var gaps []time.Duration
	for i := 1; i < len(s.calls); i++ {
		gaps = append(gaps, s.calls[i].at.Sub(s.calls[i-1].at))
	}
	if most := slices.Max(gaps); most > 10*time.Minute {
		t.Errorf("waited %v", most)
	}
	if len(gaps) < 40 || len(gaps) > 150 {
		t.Errorf("%d tries in 7 hours", len(gaps))
	}
	if gaps[0] > time.Second || gaps[5] < 8*time.Second {
		t.Errorf("no exponential start: %v", gaps[:6])
	}
	last := events[len(events)-1]
	if last.Err != nil || s.calls[len(s.calls)-1].at.Sub(recovers) > 10*time.Minute {
		t.Errorf("not recovered: %+v", last)
	}
	for _, e := range events[:len(events)-1] {
		if !errors.Is(e.Err, errDown) || e.Result() != "error" {
			t.Fatalf("event %+v", e)
		}
	}
}

// Near the end, tries come faster than the bound for quiet times.
func TestRenewerHurries(t *testing.T) {
	const day = 24 * time.Hour
	var end time.Time
	s, _ := scenario(t, day, day, stepca.RenewerOptions{}, func(s *script, _ *stepca.RenewerOptions) {
		end = time.Now().Add(day)
		s.down = func(stepca.Op) error { return errDown }
	})
	var late int
	for _, c := range s.calls {
		if left := end.Sub(c.at); left < 10*time.Minute && left > 0 {
			late++
		}
	}
	if late < 15 {
		t.Errorf("%d tries in the last ten minutes", late)
	}
}

func TestRenewerAfterExpiry(t *testing.T) {
	const validity = time.Hour
	tests := []struct {
		name  string
		enrol bool
		renew error // of the authority after expiry
		want  []stepca.Op
	}{
		{"authority renews", true, nil, []stepca.Op{stepca.OpRenew}},
		{"authority refuses, enrols again", true, errDown, []stepca.Op{stepca.OpRenew, stepca.OpEnrol}},
		{"authority refuses, no way to enrol", false, errDown, []stepca.Op{stepca.OpRenew, stepca.OpRenew}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, events := scenario(t, validity, 30*time.Second, stepca.RenewerOptions{}, func(s *script, o *stepca.RenewerOptions) {
				time.Sleep(validity + time.Minute) // of the bubble's clock
				s.down = func(op stepca.Op) error {
					if op == stepca.OpRenew {
						return tt.renew
					}
					return nil
				}
				if tt.enrol {
					o.Enrol = s.enrol
				}
			})
			if got := ops(s); !slices.Equal(got[:min(len(got), len(tt.want))], tt.want) {
				t.Errorf("operations %q, want %q", got, tt.want)
			}
			if ok := events[0].Err == nil; ok != (tt.enrol) || ok && len(events) != 1 {
				t.Errorf("events %+v", events)
			}
		})
	}
}

func TestRenewerEmptyStore(t *testing.T) {
	s, events := scenario(t, time.Hour, time.Minute, stepca.RenewerOptions{}, func(s *script, o *stepca.RenewerOptions) {
		s.pair, o.Enrol = nil, s.enrol
	})
	if s.pair == nil || len(events) != 1 || events[0].Op != stepca.OpEnrol {
		t.Errorf("events %+v", events)
	}
	r, err := stepca.NewRenewer(pairFiles(t), s, stepca.RenewerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no certificate and no way to get one: %v", err)
	}
}

// A full disk must cost neither the new certificate nor one more per try.
func TestRenewerKeepsWhatItCannotSave(t *testing.T) {
	const day = 24 * time.Hour
	s, events := scenario(t, day, day, stepca.RenewerOptions{}, func(s *script, _ *stepca.RenewerOptions) {
		full := time.Now().Add(18 * time.Hour)
		s.down = func(op stepca.Op) error {
			if op == stepca.OpSave && time.Now().Before(full) {
				return errDown
			}
			return nil
		}
	})
	if len(s.calls) != 1 {
		t.Errorf("%d certificates were asked for", len(s.calls))
	}
	last := events[len(events)-1]
	// Two thirds of a day, less 5 % of it for jitter, is 14.8 hours at least.
	if last.Err != nil || last.Op != stepca.OpSave || !last.Next.After(s.calls[0].at.Add(14*time.Hour)) {
		t.Errorf("last event %+v", last)
	}
	if s.pair.Leaf().NotAfter.Before(s.calls[0].at.Add(day - time.Minute)) {
		t.Error("the new certificate was lost")
	}
}

// Another hand (step ca renew, an operator) may have been quicker.
func TestRenewerAdopts(t *testing.T) {
	const day = 24 * time.Hour
	s, _ := scenario(t, day, day, stepca.RenewerOptions{}, func(s *script, _ *stepca.RenewerOptions) {
		theirs := newPair(t, s.ca, pkitest.Leaf{NotBefore: time.Now(), NotAfter: time.Now().Add(10 * day)})
		appears := time.Now().Add(time.Hour)
		s.other = func() *stepca.Pair {
			if time.Now().Before(appears) {
				return nil
			}
			return theirs
		}
	})
	if len(s.calls) != 0 {
		t.Errorf("renewed all the same: %v", s.calls)
	}
}

// What another hand puts into the store is not taken if it is worse.
//
// Holds: authority/worse-renewal
func TestRenewerAdoptsNothingWorse(t *testing.T) {
	const day = 24 * time.Hour
	for name, edit := range map[string]func(*pkitest.Leaf){
		"fewer names":     func(l *pkitest.Leaf) { l.DNS = l.DNS[:1] },
		"no server":       func(l *pkitest.Leaf) { l.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} },
		"good (a check)":  func(*pkitest.Leaf) {},
		"further names":   func(l *pkitest.Leaf) { l.DNS = append(l.DNS, "c.internal") },
		"no DNS names":    func(l *pkitest.Leaf) { l.DNS, l.IPs = nil, []string{"127.0.0.1"} },
		"names of others": func(l *pkitest.Leaf) { l.DNS = []string{"c.internal", "d.internal"} },
	} {
		good := name == "good (a check)" || name == "further names"
		s, _ := scenario(t, day, day, stepca.RenewerOptions{}, func(s *script, _ *stepca.RenewerOptions) {
			ours := pkitest.Leaf{DNS: []string{"a.internal", "b.internal"}, NotBefore: time.Now(), NotAfter: time.Now().Add(day)}
			s.pair = newPair(t, s.ca, ours)
			ours.NotAfter = time.Now().Add(10 * day)
			edit(&ours)
			theirs := newPair(t, s.ca, ours)
			appears := time.Now().Add(time.Hour)
			s.other = func() *stepca.Pair {
				if time.Now().Before(appears) {
					return nil
				}
				return theirs
			}
		})
		if adopted := len(s.calls) == 0; adopted != good {
			t.Errorf("%s: adopted %v", name, adopted)
		}
	}
}

// The whole of it: a real step-ca that is down when it is needed, and files.
func TestRenewerLive(t *testing.T) {
	ca := steptest.Start(t, steptest.Options{Default: 2 * time.Minute, Min: time.Second})
	c, err := stepca.New(ca.URL, stepca.Options{RootFile: ca.RootFile, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	first, err := c.Enrol(t.Context(), ca.Token("gate", sans...), stepca.Request{})
	if err != nil {
		t.Fatal(err)
	}
	f := pairFiles(t)
	if err := f.Save(first); err != nil {
		t.Fatal(err)
	}
	events := make(chan stepca.Event, 1000)
	// Dated back by a minute, the certificate is past a tenth from the start.
	r, err := stepca.NewRenewer(f, c, stepca.RenewerOptions{RenewAt: 0.1, OnEvent: func(e stepca.Event) { events <- e }})
	if err != nil {
		t.Fatal(err)
	}
	ca.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for range 2 {
		if e := <-events; e.Err == nil || e.Op != stepca.OpRekey {
			t.Fatalf("with the authority down: %+v", e)
		}
	}
	ca.Start()
	for e := range events {
		if e.Err == nil {
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	now, err := f.Load()
	if err != nil {
		t.Fatal(err)
	}
	check(t, "rekeyed", first, now, false)
}

func TestNewRenewerRefuses(t *testing.T) {
	for _, at := range []float64{-1, 0.01, 1, 2} {
		if _, err := stepca.NewRenewer(stepca.Files{}, &script{}, stepca.RenewerOptions{RenewAt: at}); err == nil {
			t.Errorf("RenewAt %v taken", at)
		}
	}
}
