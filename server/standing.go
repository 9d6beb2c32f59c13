package server

import (
	"context"
	"time"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/standing"
)

// markEvery is how often the high-water mark is written again after that failed.
const markEvery = 10 * time.Second

// openStanding refuses a state database that is older than its high-water mark.
func (s *Server) openStanding(ctx context.Context) (err error) {
	vault := func() *credential.Vault {
		c := s.config.Load().Credentials
		if c == nil || c.KEK == "" {
			return nil
		}
		return credential.New(s.store, c.KEK, s.log)
	}
	s.standing, err = standing.Open(ctx,
		standing.Options{Store: s.store, File: s.config.Load().MarkFile(), Logger: s.log, Vault: vault})
	if err != nil {
		return err
	}
	s.store.Guard(s.standing.Judge)
	s.metrics.Standing(s.store.Refused, s.standing.Problem)
	return nil
}

// keepMark writes the mark again after that failed, until ctx ends.
func (s *Server) keepMark(ctx context.Context) {
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.standing.Problem() != nil && s.store.Refused() == nil {
			s.standing.Raise(ctx)
		}
	}
}

// checkMark reports a mark that could not be verified or written: everything is
// served, but an older copy of the database might not be noticed.
func (s *Server) checkMark(context.Context) (note string, err error) {
	if problem := s.standing.Problem(); problem != nil {
		note = "the high-water mark of the state database is not current: " + s.redact(problem).Error()
	}
	return note, nil
}
