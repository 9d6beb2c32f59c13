package admission

import (
	"cmp"
	"maps"
	"slices"
	"sync"
)

// A Member is an authenticated connection in [Shares].
type Member interface {
	// Idle returns the time, in Unix nanoseconds, since which nothing is in progress
	// on the connection, or ok false if something is.
	Idle() (since int64, ok bool)
	// Drop closes the connection. It must not block and must not call into Shares.
	Drop()
}

// Bounds of [Shares], in connections.
type Bounds struct {
	Total    int
	Tenant   int // of one tenant
	Identity int // of one identity of a tenant
	Unmapped int // of all identities that belong to no tenant
}

// Shares bounds the connections of each tenant and identity, and their total. A
// connection beyond a bound takes the place of the one that is idle for longest
// within that bound; if none is idle it is refused. A tenant loses a connection to
// another tenant only if all places are taken and it holds more than that other one.
type Shares struct {
	bounds Bounds

	mu      sync.Mutex
	held    int
	tenants map[string]*tenantShare
}

type tenantShare struct {
	held       int
	identities map[string]map[Member]struct{}
}

// NewShares makes one.
func NewShares(b Bounds) *Shares { return &Shares{bounds: b, tenants: make(map[string]*tenantShare)} }

// Enter takes a connection of an identity of a tenant in; tenant "" stands for
// none. most, if not 0, is what the tenant may have in the place of Bounds.Tenant. It
// reports the bound that was reached: if refused, the connection has no
// place; else, and if why is not empty, another connection was dropped for it.
func (s *Shares) Enter(tenant, identity string, most int, m Member) (why Reason, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tenants[tenant]
	if t == nil {
		t = &tenantShare{identities: make(map[string]map[Member]struct{})}
	}
	bound := cmp.Or(most, s.bounds.Tenant)
	if tenant == "" {
		bound = s.bounds.Unmapped
	}
	var room bool
	switch {
	case len(t.identities[identity]) >= min(bound, s.bounds.Identity):
		why, room = IdentityShare, s.evict(tenant, t, identity)
	case t.held >= bound:
		why, room = TenantShare, s.evictWithin(tenant, t, len(t.identities[identity]))
	case s.held >= s.bounds.Total:
		why, room = TotalFull, s.evictLargest(tenant, t)
	default:
		room = true
	}
	if !room {
		return why, false
	}
	s.tenants[tenant] = t
	if t.identities[identity] == nil {
		t.identities[identity] = make(map[Member]struct{})
	}
	t.identities[identity][m] = struct{}{}
	t.held++
	s.held++
	return why, true
}

// Leave gives the place of a connection back, unless it was dropped before.
func (s *Shares) Leave(tenant, identity string, m Member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tenants[tenant]; t != nil {
		s.remove(tenant, t, identity, m)
	}
}

func (s *Shares) remove(tenant string, t *tenantShare, identity string, m Member) {
	members := t.identities[identity]
	if _, ok := members[m]; !ok {
		return
	}
	delete(members, m)
	t.held--
	s.held--
	if len(members) == 0 {
		delete(t.identities, identity)
	}
	if t.held == 0 {
		delete(s.tenants, tenant)
	}
}

// evictWithin drops a connection of t of the identity that holds most and has an idle one;
// of one that holds less than least, it drops none.
func (s *Shares) evictWithin(tenant string, t *tenantShare, least int) bool {
	bySize := slices.SortedFunc(maps.Keys(t.identities), func(a, b string) int {
		return cmp.Compare(len(t.identities[b]), len(t.identities[a]))
	})
	for _, identity := range bySize {
		if len(t.identities[identity]) < least {
			return false
		}
		if s.evict(tenant, t, identity) {
			return true
		}
	}
	return false
}

// evictLargest drops an idle connection of the tenant that holds most, if that is
// more than t, and has an idle one, and else of t itself.
func (s *Shares) evictLargest(tenant string, t *tenantShare) bool {
	var larger []string
	for id, other := range s.tenants {
		if other.held > t.held+1 {
			larger = append(larger, id)
		}
	}
	slices.SortFunc(larger, func(a, b string) int { return cmp.Compare(s.tenants[b].held, s.tenants[a].held) })
	for _, id := range larger {
		if s.evictWithin(id, s.tenants[id], 1) {
			return true
		}
	}
	return s.evictWithin(tenant, t, 1)
}

// evict drops the connection of an identity that is idle for longest, if one is.
func (s *Shares) evict(tenant string, t *tenantShare, identity string) bool {
	var victim Member
	var oldest int64
	for m := range t.identities[identity] {
		if since, ok := m.Idle(); ok && (victim == nil || since < oldest) {
			victim, oldest = m, since
		}
	}
	if victim == nil {
		return false
	}
	s.remove(tenant, t, identity, victim)
	victim.Drop()
	return true
}
