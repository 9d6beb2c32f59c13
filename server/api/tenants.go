package api

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/config"
	rules "github.com/sangate/sangate/server/tenant"
)

// maxTenants is how many one answer lists.
const maxTenants = 1000

// Tenants serves /api/tenants: who they are by the configuration in force, which is
// where they are changed.
type Tenants struct {
	Configured func() []config.Tenant
}

// A tenant is one as it is sent. What is not limited or restricted is left out.
type tenant struct {
	ID           string   `json:"id"`
	Enabled      bool     `json:"enabled"`
	SANs         []string `json:"sans"`
	SecondFactor string   `json:"secondFactor"`
	Tools        *tools   `json:"tools,omitzero"`
	Limits       *limits  `json:"limits,omitzero"`
}

type tools struct {
	Allow     []string `json:"allow"`
	Deny      []string `json:"deny"`
	Condition string   `json:"condition,omitzero"`
}

type limits struct {
	RequestsPerSecond float64 `json:"requestsPerSecond,omitzero"`
	Burst             int     `json:"burst,omitzero"`
	Concurrent        int     `json:"concurrent,omitzero"`
	Streams           int     `json:"streams,omitzero"`
	Connections       int     `json:"connections,omitzero"`
	PerIdentity       *limits `json:"perIdentity,omitzero"`
}

// List answers GET /api/tenants with an array in the configuration's order, at most
// 1,000; ?after=ID has those that follow.
func (h *Tenants) List(w http.ResponseWriter, r *http.Request) {
	all := h.Configured()
	if after := r.URL.Query().Get("after"); after != "" {
		i := slices.IndexFunc(all, func(t config.Tenant) bool { return t.ID == after })
		if i < 0 {
			answer.Fail(w, r, answer.BadRequest("There is no tenant of the id in after; begin anew."))
			return
		}
		all = all[i+1:]
	}
	list := make([]tenant, 0, min(len(all), maxTenants))
	for i := range all[:min(len(all), maxTenants)] {
		list = append(list, tenantOf(&all[i]))
	}
	respond(w, r, http.StatusOK, list)
}

// Get answers GET /api/tenants/{id}; an id that a rule captures is that of no entry.
func (h *Tenants) Get(w http.ResponseWriter, r *http.Request) {
	all := h.Configured()
	i := slices.IndexFunc(all, func(t config.Tenant) bool { return t.ID == r.PathValue("id") })
	if i < 0 {
		answer.Fail(w, r, answer.NotFound)
		return
	}
	respond(w, r, http.StatusOK, tenantOf(&all[i]))
}

func tenantOf(c *config.Tenant) tenant {
	t := tenant{ID: c.ID, Enabled: c.Enabled, SANs: c.SANs, SecondFactor: cmp.Or(c.SecondFactor, string(rules.Required))}
	if c.Tools != nil {
		t.Tools = &tools{c.Tools.Allow, c.Tools.Deny, c.Tools.Condition}
	}
	if c.Limits != nil {
		t.Limits = &limits{RequestsPerSecond: c.Limits.RequestsPerSecond, Burst: c.Limits.Burst, Concurrent: c.Limits.Concurrent,
			Streams: c.Limits.Streams, Connections: c.Limits.Connections}
		if p := c.Limits.PerIdentity; p != nil {
			t.Limits.PerIdentity = &limits{RequestsPerSecond: p.RequestsPerSecond, Burst: p.Burst, Concurrent: p.Concurrent, Streams: p.Streams}
		}
	}
	return t
}
