package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sangate/sangate/pki/stepca"
	"github.com/sangate/sangate/server/admin"
)

// stuck is how long the sweep over requests in progress may be late before the
// gate is not taken for alive: without it what was allowed goes on for ever.
const stuck = 10 * time.Second

// Alive reports what keeps the gate from doing its work at all, so that it should
// be killed and started again: for a watchdog, and /healthz.
func (s *Server) Alive() error {
	if !s.built.Load() {
		return nil // it is starting
	}
	if late := time.Since(time.Unix(0, s.live.swept.Load())); late > stuck {
		return fmt.Errorf("requests in progress have not been looked at for %s", late.Round(time.Second))
	}
	return nil
}

// Serving is closed once the gate serves.
func (s *Server) Serving() <-chan struct{} { return s.serving }

// checks are what /readyz says.
func (s *Server) checks() []admin.Check {
	return []admin.Check{{Name: "certificate", Fn: s.checkCertificate}, {Name: "store", Fn: s.checkStore},
		{Name: "mark", Fn: s.checkMark},
		{Name: "config", Fn: s.checkConfig}, {Name: "documents", Fn: s.checkDocuments},
		{Name: "serving", Fn: s.checkServing}}
}

// checkConfig tells of a file that does not load: what was in force serves on, so
// that is no reason to send clients elsewhere.
func (s *Server) checkConfig(context.Context) (note string, err error) {
	for _, failed := range []string{s.failed.config.Text(), s.failed.certificates.Text()} {
		if failed != "" {
			note = strings.TrimPrefix(note+"; ", "; ") + "what is in force stays, the files do not load: " + failed
		}
	}
	return note, nil
}

// checkDocuments reports OpenAPI documents that are not imported: everything else is
// served, so that is no reason to send clients elsewhere.
func (s *Server) checkDocuments(context.Context) (note string, err error) {
	if !s.built.Load() {
		return "", nil
	}
	var notes []string
	for _, d := range s.backend.Documents() {
		if d.Problem != "" {
			notes = append(notes, fmt.Sprintf("OpenAPI document %s not imported, %s: %s", d.Name, keptTools(len(d.Tools)), d.Problem))
		}
	}
	return strings.Join(notes, "; "), nil
}

func keptTools(n int) string {
	if n == 0 {
		return "its tools are left out"
	}
	return fmt.Sprintf("the %d tools of its last good copy are kept", n)
}

func (s *Server) checkServing(context.Context) (note string, err error) {
	if !s.built.Load() {
		return "", errors.New("it is starting")
	}
	if s.draining.Load() {
		return "", errors.New("it drains: no new connections")
	}
	return "", nil
}

func (s *Server) checkCertificate(context.Context) (note string, err error) {
	if !s.built.Load() {
		return "", s.whyWaiting()
	}
	leaf, now := s.gate.Snapshot().PKI.Certificate.Leaf, s.opts.Now()
	switch {
	case now.After(leaf.NotAfter):
		return "", fmt.Errorf("the server certificate expired at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return "", fmt.Errorf("the server certificate is not valid before %s", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	var notes []string
	if err := s.renewal.Err(); err != nil {
		notes = append(notes, "renewing it fails: "+err.Error())
	}
	if left := s.pki.LeftOut(); len(left) > 0 {
		notes = append(notes, "left out of the SPIFFE agent's update: "+strings.Join(left, "; "))
	}
	return strings.Join(notes, "; "), nil
}

func (s *Server) checkStore(ctx context.Context) (note string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return "", s.store.Ping(ctx)
}

// starting notes what New is at.
func (s *Server) starting(step string) { s.step.Store(&step) }

// whyWaiting says what a start waits for, and what went wrong last.
func (s *Server) whyWaiting() error {
	why := []string{"it is starting"}
	if step := s.step.Load(); step != nil {
		why[0] = *step
	}
	for _, last := range []*outcome{&s.renewal, &s.roots} {
		if err := last.Err(); err != nil {
			why = append(why, err.Error())
		}
	}
	return errors.New(strings.Join(why, ": "))
}

// renewed hears of each attempt on the server certificate and the CA's roots.
func (s *Server) renewed(e stepca.Event) {
	s.metrics.Renewal(e)
	e.Err = s.redact(e.Err)
	if e.Op == stepca.OpRoots {
		s.roots.note(e.Err)
		return
	}
	s.renewal.note(e.Err)
}

// updated hears of each certificate that somebody renews for the gate.
func (s *Server) updated(err error) {
	s.metrics.Update(err)
	s.renewal.note(s.redact(err))
}
