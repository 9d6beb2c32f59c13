package admission_test

import (
	"testing"

	"github.com/sangate/sangate/server/admission"
)

type member struct {
	since   int64
	busy    bool
	dropped int
}

func (m *member) Idle() (int64, bool) { return m.since, !m.busy }
func (m *member) Drop()               { m.dropped++ }

// A tenant beyond its share loses its own oldest idle connection, or is refused;
// no other tenant loses anything.
//
// Holds: tenant/connection-share
func TestTenantLosesItsOwn(t *testing.T) {
	s := admission.NewShares(admission.Bounds{Total: 20, Tenant: 6, Identity: 4, Unmapped: 2})
	other := &member{}
	s.Enter("globex", "g", 0, other)
	var ours []*member
	enter := func(tenant, identity string, busy bool) (admission.Reason, bool) {
		m := &member{since: int64(len(ours) + 1), busy: busy}
		ours = append(ours, m)
		return s.Enter(tenant, identity, 0, m)
	}
	for range 4 {
		enter("acme", "a", false)
	}
	if why, ok := enter("acme", "a", true); why != admission.IdentityShare || !ok || ours[0].dropped != 1 {
		t.Errorf("beyond the identity's share: %q %v, oldest dropped %d times", why, ok, ours[0].dropped)
	}
	enter("acme", "b", true)
	enter("acme", "b", true)
	if why, ok := enter("acme", "b", true); why != admission.TenantShare || !ok || ours[1].dropped != 1 {
		t.Errorf("beyond the tenant's share: %q %v, oldest of the larger identity dropped %d times", why, ok, ours[1].dropped)
	}
	for _, m := range ours {
		m.busy = true
	}
	if why, ok := enter("acme", "c", true); why != admission.TenantShare || ok {
		t.Errorf("with nothing idle: %q %v, want a refusal", why, ok)
	}
	for range 5 {
		enter("", "x", false)
	}
	if other.dropped != 0 {
		t.Error("another tenant lost a connection")
	}
}

// Where the largest holder has nothing idle, the next one gives way, and of identities of
// a tenant none that holds less than who comes.
func TestBusyHoldersArePassedOver(t *testing.T) {
	s := admission.NewShares(admission.Bounds{Total: 8, Tenant: 5, Identity: 5, Unmapped: 2})
	var since int64
	enter := func(tenant, identity string, busy bool) *member {
		t.Helper()
		since++
		m := &member{since: since, busy: busy}
		if _, ok := s.Enter(tenant, identity, 0, m); !ok {
			t.Fatalf("%s of %s is refused", identity, tenant)
		}
		return m
	}
	for range 3 {
		enter("acme", "busy", true)
	}
	first, _ := enter("acme", "idle", false), enter("acme", "idle", false)
	enter("acme", "new", true)
	if first.dropped != 1 {
		t.Error("beside a busy identity of the tenant, the idle one lost nothing")
	}
	if _, ok := s.Enter("acme", "busy", 0, &member{}); ok {
		t.Error("the identity that holds most took the place of a smaller one")
	}
	enter("globex", "a", true)
	enter("globex", "a", true)
	idle := enter("globex", "b", false)
	late := enter("initech", "a", true)
	if idle.dropped+late.dropped != 0 {
		t.Error("a place of globex was taken although acme, which holds more, has an idle one")
	}
	enter("hooli", "a", true) // acme has nothing idle any more
	if idle.dropped != 1 {
		t.Error("all places are taken, and the tenant behind the largest gave none")
	}
}

// With all places taken, a tenant that holds less takes one of the tenant that holds
// most, and never the other way round.
func TestFullTotalDropsTheLargestTenant(t *testing.T) {
	s := admission.NewShares(admission.Bounds{Total: 10, Tenant: 9, Identity: 9, Unmapped: 2})
	large, small := make([]*member, 9), &member{}
	for i := range large {
		large[i] = &member{since: int64(i)}
		s.Enter("large", "l", 0, large[i])
	}
	s.Enter("small", "s", 0, small)
	next := &member{}
	if why, ok := s.Enter("late", "n", 0, next); why != admission.TotalFull || !ok || large[0].dropped != 1 {
		t.Errorf("%q %v, oldest of the largest dropped %d times", why, ok, large[0].dropped)
	}
	if why, ok := s.Enter("large", "l", 0, &member{since: 99}); why != admission.TotalFull || !ok || large[1].dropped != 1 {
		t.Errorf("%q %v, own oldest dropped %d times", why, ok, large[1].dropped)
	}
	if small.dropped+next.dropped != 0 {
		t.Error("a smaller tenant lost a connection")
	}
	s.Leave("late", "n", next)
	if why, ok := s.Enter("late", "n", 0, next); why != "" || !ok {
		t.Errorf("after one left: %q %v", why, ok)
	}
}
