package server

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/sangate/sangate/server/config"
)

// reloadConfig puts the file's configuration in force, and counts, tells and
// writes down how that went.
func (s *Server) reloadConfig(ctx context.Context) error {
	changed, err := s.applyConfig(ctx)
	if changed || err != nil {
		s.metrics.ConfigReload(err)
	}
	told := !s.failed.config.news(err)
	if !told || changed {
		s.auditReload(err)
	}
	if told {
		return err
	}
	if problems, ok := errors.AsType[config.Problems](err); ok {
		for _, p := range problems {
			s.log.Error("configuration not reloaded, the old one stays", "at", fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col), "problem", p.Message)
		}
	} else {
		s.log.Error("configuration not reloaded, the old one stays", "err", err)
	}
	return err
}

// followLog tells who made the logger what is in force.
func (s *Server) followLog(l config.Log) {
	if s.opts.FollowLog != nil {
		s.opts.FollowLog(l)
	}
}

// An outcome is how the last attempt at something ended. Safe for concurrent use,
// without a wait: health is told from it.
type outcome struct{ last atomic.Pointer[error] }

func (o *outcome) note(err error) { o.last.Store(&err) }

// Err returns why it failed; nil where it did not, or there was none.
func (o *outcome) Err() error {
	if last := o.last.Load(); last != nil {
		return *last
	}
	return nil
}

// Text is that of Err, or "".
func (o *outcome) Text() string {
	if err := o.Err(); err != nil {
		return err.Error()
	}
	return ""
}

// news notes how an attempt ended and reports whether that is a failure not told
// yet. What fails is tried every second: each try is counted, and only another
// failure told.
func (o *outcome) news(err error) bool {
	before := o.Text()
	o.note(err)
	return err != nil && err.Error() != before
}

// reloads are how those of each kind ended.
type reloads struct {
	config, certificates      outcome
	keys, denied, credentials outcome // of the state store
}

func (r *reloads) forget() {
	for _, o := range []*outcome{&r.config, &r.certificates, &r.keys, &r.denied, &r.credentials} {
		o.note(nil)
	}
}
