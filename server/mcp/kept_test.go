package mcp

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/sangate/sangate/server/auth"
)

// TestSubscriptionsOfOthersKept checks that sessions of one tenant or identity, however many
// subscribe, take away no subscription of another's: their own oldest go.
//
// Holds: tenant/subscriptions-own-bound
func TestSubscriptionsOfOthersKept(t *testing.T) {
	var k keeper
	n := uint64(0)
	subscribe := func(tenant, identity string) sessionID {
		var id sessionID
		n++
		binary.BigEndian.PutUint64(id[:], n)
		k.change(&auth.Principal{TenantID: tenant, Key: identity}, id, func(s *kept) { s.watched = []string{"test://board"} })
		return id
	}
	has := func(id sessionID) bool { return k.watches(id, "test://board") }

	victim, sister := subscribe("acme", "a"), subscribe("globex", "quiet")
	first := subscribe("globex", "loud")
	for range maxKeptIdentity {
		subscribe("globex", "loud")
	}
	if !has(victim) || !has(sister) || has(first) {
		t.Errorf("after one identity's flood: acme %v, sister %v, its own first %v; want true, true, false", has(victim), has(sister), has(first))
	}
	for identity := range 2 * maxKeptTenant / maxKeptIdentity {
		for range maxKeptIdentity {
			subscribe("globex", fmt.Sprint(identity))
		}
	}
	if got := held(k.tenants["globex"]); !has(victim) || !has(sister) || got != maxKeptTenant {
		t.Errorf("after one tenant's flood: acme %v, sister %v, %d of globex; want true, true, %d", has(victim), has(sister), got, maxKeptTenant)
	}
	for tenant := range 2 * maxKept / maxKeptTenant {
		for identity := range maxKeptTenant / maxKeptIdentity {
			for range maxKeptIdentity {
				subscribe(fmt.Sprint("tenant-", tenant), fmt.Sprint(identity))
			}
		}
	}
	if !has(victim) || len(k.kept) != maxKept {
		t.Errorf("after many tenants' flood: acme %v, %d in all; want true, %d", has(victim), len(k.kept), maxKept)
	}
	for id := range k.kept {
		k.forget(id)
	}
	if len(k.tenants) != 0 {
		t.Errorf("%d tenants are left when all sessions are forgotten", len(k.tenants))
	}
}
