package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/sangate/sangate/server/config"
)

// reloadConfig puts the file's configuration in force, and counts, tells and
// writes down how that went.
func (s *Server) reloadConfig(ctx context.Context) error {
	changed, err := s.applyConfig(ctx)
	if changed || err != nil {
		s.metrics.ConfigReload(err)
	}
	s.mu.Lock()
	told := !news(&s.failed.config, err)
	s.mu.Unlock()
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

// said is the failure of each kind of reload that was told last. What fails is
// tried every second: each try is counted, and only another failure told.
type said struct{ config, certificates string }

// news notes how a reload ended and reports whether that is a failure not told yet.
func news(last *string, err error) bool {
	text := ""
	if err != nil {
		text = err.Error()
	}
	is := text != *last && err != nil
	*last = text
	return is
}
