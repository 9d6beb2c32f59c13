package console_test

import (
	"fmt"
	"testing"

	"github.com/sangate/sangate/server/console"
)

// However many strangers there are, and whatever one of them repeats, the requests
// that were refused stay; and each can be found by what is known of it.
func TestRefusals(t *testing.T) {
	var r console.Refusals
	r.Add(console.Refusal{Stage: "agreement", Reason: "tenant_mismatch", Who: "agent", Tenant: "acme", Remote: "10.0.0.1:1", Request: "A", Key: "key k1 of tenant globex"})
	r.Add(console.Refusal{Stage: console.AtRequest, Reason: "not_found", Who: "other", Tenant: "acme", Remote: "10.0.0.2:1", Request: "B", What: "GET /x"})
	for i := range 1000 {
		r.Add(console.Refusal{Stage: console.AtHandshake, Reason: "untrusted", Who: fmt.Sprint("CN=", i), Remote: "192.0.2.1:1"})
	}
	for i := range 30 {
		r.Add(console.Refusal{Stage: console.AtHandshake, Reason: "aborted", Remote: fmt.Sprint("192.0.2.2:", i)})
	}
	r.Add(console.Refusal{Stage: console.AtRequest, Reason: "not_found", Who: "other", Tenant: "acme", Remote: "10.0.0.2:2", Request: "C", What: "GET /y"})
	all := r.List("")
	if len(all) != 202 || all[0].Request != "C" || all[0].Times != 2 || all[1].Reason != "aborted" || all[1].Times != 30 || all[1].Remote != "192.0.2.2:29" || all[201].Reason != "tenant_mismatch" {
		t.Errorf("%d: %+v, %+v, …, %+v", len(all), all[0], all[1], all[len(all)-1])
	}
	rows := make(map[uint64]bool)
	for _, x := range all {
		rows[x.Row] = true
	}
	if len(rows) != len(all) || all[0].Row != 2 {
		t.Errorf("%d rows have %d numbers, that of the first is %d", len(all), len(rows), all[0].Row)
	}
	for filter, want := range map[string]int{"tenant_mismatch": 1, "acme": 2, "globex": 1, "10.0.0.": 2, "C": 200, "192.0.2.2": 1, "/y": 1, "nobody": 0} {
		if got := len(r.List(filter)); got != want {
			t.Errorf("%q finds %d, want %d", filter, got, want)
		}
	}
}
