package admin_test

import (
	"strings"
	"testing"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/revocation"
	"github.com/sangate/sangate/server/admin"
)

// What is heard late of a name that the configuration no longer has brings no series
// back; if the name returns, it counts again.
func TestGoneNamesStayGone(t *testing.T) {
	m := admin.NewMetrics("", "")
	hear := func() {
		m.List(revocation.Update{Name: "gone", Outcome: revocation.Outcomes()[0]})
		m.Revoked(pki.Revoked, "gone")
		m.KeySet("gone", nil)
		m.Upstream("gone", nil)
		m.Exchange("gone", 0, "request")
	}
	series := func() (n int) {
		families, err := m.Registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, s := range f.Metric {
				if strings.Contains(s.String(), `"gone"`) {
					n++
				}
			}
		}
		return n
	}
	named := admin.Configured{Lists: []string{"gone"}, Issuers: []string{"gone"}, Upstreams: []string{"gone"}}
	m.Configured(named)
	hear()
	before := series()
	m.Configured(admin.Configured{})
	hear()
	if n := series(); before == 0 || n != 0 {
		t.Errorf("%d series of what is gone, %d before, want none", n, before)
	}
	m.Configured(named)
	hear()
	if n := series(); n != before {
		t.Errorf("%d series of what is back, want %d", n, before)
	}
}
