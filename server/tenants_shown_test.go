package server

import (
	"fmt"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/tenant"
)

// What one look at a few tenants makes does not grow with those that it does not show.
func TestShownTenantsCostTheirOwn(t *testing.T) {
	const many = 5000
	s := &Server{opts: Options{Now: time.Now}, metrics: admin.NewMetrics("", "")}
	conf := new(config.Config)
	s.config.Store(conf)
	for i := range many {
		id := fmt.Sprintf("t%d", i)
		conf.Tenants = append(conf.Tenants, config.Tenant{ID: id, Enabled: true, SANs: []string{"dns:" + id + ".example"}})
		conf.Keys = append(conf.Keys, apikey.Entry{ID: "k" + id, Tenant: id})
		s.stored = append(s.stored, apikey.Entry{ID: "s" + id, Tenant: id, RevokedAt: time.Now()})
		for stage, reason := range map[auth.Stage]auth.Reason{auth.Passed: auth.OK, auth.Policy: auth.ToolDenied} {
			s.metrics.Decision(&auth.Decision{Stage: stage, Reason: reason, Tenant: &tenant.Tenant{ID: id}}, 0, "")
		}
	}
	out := s.showTenants("t4999", 200)
	if out.Total != 1 || len(out.List) != 1 {
		t.Fatalf("%+v", out)
	}
	if got := out.List[0]; len(got.Keys) != 2 || got.Keys[0].State != "live" || got.Keys[1].State != "revoked" || got.Passed != 1 || got.Refused != 1 {
		t.Errorf("%+v", got)
	}
	if n := testing.AllocsPerRun(3, func() { s.showTenants("t4999", 200) }); n > many/10 && !pkitest.Race {
		t.Errorf("a look at one tenant of %d allocates %v times", many, n)
	}
	if out := s.showTenants("", 200); out.Total != many || len(out.List) != 200 {
		t.Errorf("%d of %d", len(out.List), out.Total)
	}
}
