package upstream

import (
	"strings"

	"github.com/sangate/sangate/pki"
)

// maxProblem bounds what is told of an upstream's failure, in bytes: it may quote what the
// upstream sent.
const maxProblem = 1 << 10

// A State says how an upstream is, to an operator.
type State struct {
	Name, Where, Protocol string
	Up                    bool
	Problem               string        // why not
	Tools                 []string      // that it offered last, vetted
	LeftOut               []LeftOut     // the first of its offer that are not passed on
	Missing               int           // how many are not
	Groups                map[Group]int // the same, counted; not to be changed
}

// States returns those of all, in the order of the configuration.
func (p *Pool) States() []State {
	var out []State
	for _, m := range p.members() {
		out = append(out, m.server.state())
	}
	return out
}

func (s *Server) state() State {
	st := State{Name: s.conf.Name, Where: s.conf.BaseURL, Protocol: s.conf.Protocol}
	if len(s.conf.Command) > 0 {
		st.Where = s.conf.Command[0] // arguments may carry what is nobody's business
	}
	st.Where, _, _ = strings.Cut(st.Where, "?")
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Up = s.up
	if s.lastErr != nil {
		st.Problem = pki.Cut(s.lastErr.Error(), maxProblem)
	}
	if s.offer != nil {
		st.LeftOut, st.Missing, st.Groups = s.offer.left, s.offer.missing, s.offer.groups
		for _, t := range s.offer.Tools {
			st.Tools = append(st.Tools, t.Name)
		}
	}
	return st
}
