package server

import (
	"strings"

	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/backend"
	"github.com/sangate/sangate/server/tool"
	"github.com/sangate/sangate/server/upstream"
)

// maxShown bounds the entries of one upstream that the console shows as left out.
const maxShown = 100

// rejected counts what is left out of the upstreams' offers, zero included.
func (s *Server) rejected() []admin.Rejected {
	var out []admin.Rejected
	for _, u := range s.backend.Upstreams() {
		counts := make(map[upstream.Group]int, len(u.Groups))
		for group, n := range u.Groups {
			counts[group] = n
		}
		for _, c := range s.collisions(u.Name) {
			counts[upstream.Group{Kind: c.Kind, Reason: upstream.Conflict}]++
		}
		for _, kind := range upstream.Kinds() {
			for _, reason := range upstream.Reasons() {
				out = append(out, admin.Rejected{Upstream: u.Name, Kind: kind, Reason: string(reason), N: counts[upstream.Group{Kind: kind, Reason: reason}]})
			}
		}
	}
	return out
}

// collisions returns what of an upstream or document is left out because its name or
// URI is given to two.
func (s *Server) collisions(source string) []tool.Collision {
	var out []tool.Collision
	if twice := s.twice.Load(); twice != nil {
		for _, c := range *twice {
			if c.Source == source && source != "" {
				out = append(out, c)
			}
		}
	}
	return out
}

// whoseName says who has the name or URI that was given to two.
func whoseName(c tool.Collision) string {
	if c.With == "" {
		return "sangate has one of this name; set a prefix for this upstream"
	}
	if c.With == c.Source {
		return "it is there twice"
	}
	if !strings.HasPrefix(c.With, backend.DocumentSource("")) {
		return "upstream " + c.With + " has one of this name; set a prefix for one of them"
	}
	return c.With + " has one of this name; set a prefix for one of them"
}
