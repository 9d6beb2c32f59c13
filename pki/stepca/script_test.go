package stepca_test

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/pki/stepca"
)

// A script is an issuer and store in memory: it fails while down says so.
type script struct {
	t        *testing.T
	ca       *pkitest.CA
	validity time.Duration
	down     func(op stepca.Op) error // nil: never

	other func() *stepca.Pair // put into the store by another hand; nil: never
	pair  *stepca.Pair        // in the store
	calls []call
}

type call struct {
	op stepca.Op
	at time.Time
}

func (s *script) issue(op stepca.Op) (*stepca.Pair, error) {
	s.calls = append(s.calls, call{op, time.Now()})
	if s.down != nil {
		if err := s.down(op); err != nil {
			return nil, err
		}
	}
	now := time.Now()
	return newPair(s.t, s.ca, pkitest.Leaf{NotBefore: now.Add(-time.Minute), NotAfter: now.Add(s.validity)}), nil
}

func (s *script) Renew(context.Context, *stepca.Pair) (*stepca.Pair, error) {
	return s.issue(stepca.OpRenew)
}
func (s *script) Rekey(context.Context, *stepca.Pair) (*stepca.Pair, error) {
	return s.issue(stepca.OpRekey)
}
func (s *script) enrol(context.Context) (*stepca.Pair, error) { return s.issue(stepca.OpEnrol) }

func (s *script) Load() (*stepca.Pair, error) {
	if s.other != nil {
		if p := s.other(); p != nil {
			return p, nil
		}
	}
	if s.pair == nil {
		return nil, fs.ErrNotExist
	}
	return s.pair, nil
}

func (s *script) Save(p *stepca.Pair) error {
	if s.down != nil {
		if err := s.down(stepca.OpSave); err != nil {
			return err
		}
	}
	s.pair = p
	return nil
}

var errDown = errors.New("down")

// scenario runs a renewer over s for so long in a bubble, and returns its events.
func scenario(t *testing.T, validity, long time.Duration, opts stepca.RenewerOptions, prepare func(*script, *stepca.RenewerOptions)) (s *script, events []stepca.Event) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s = &script{t: t, ca: pkitest.NewCA(t, "ours"), validity: validity}
		s.pair = newPair(t, s.ca, pkitest.Leaf{NotBefore: time.Now(), NotAfter: time.Now().Add(validity)})
		opts.OnEvent = func(e stepca.Event) { events = append(events, e) }
		if prepare != nil {
			prepare(s, &opts)
		}
		r, err := stepca.NewRenewer(s, s, opts)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if len(events) > 0 && !r.Next().Equal(events[len(events)-1].Next) {
			t.Errorf("Next is %v, the last event said %v", r.Next(), events[len(events)-1].Next)
		}
	})
	return s, events
}

func ops(s *script) (all []stepca.Op) {
	for _, c := range s.calls {
		all = append(all, c.op)
	}
	return all
}
