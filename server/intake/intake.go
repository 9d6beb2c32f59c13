// Package intake bounds the memory that requests take: their bodies, and what tools,
// schemas and conditions make of them. A few bytes of JSON become hundreds in memory.
//
// A [Budget] has no fixed shares. A tenant may take half of what the others leave, and an
// identity half of what the tenant may still take. Whatever others hold, a tenant that
// holds nothing gets in, so its requests are served one at a time at least.
//
// Nothing here starts a goroutine. All types are safe for concurrent use.
package intake

import "sync"

// A Budget counts the memory of requests.
type Budget struct {
	mu      sync.Mutex
	total   int64
	held    int64
	tenants map[string]*tenant
}

type tenant struct {
	held       int64
	holds      int
	identities map[string]*identity
}

type identity struct {
	held  int64
	holds int
}

// A Hold is the memory of one request. The zero Hold holds nothing.
type Hold struct {
	budget                 *Budget
	tenantName, identityID string
	tenant                 *tenant
	identity               *identity
	size                   int64
}

// New makes a budget of so many bytes.
func New(total int64) *Budget { return &Budget{total: total, tenants: make(map[string]*tenant)} }

// SetTotal changes the bound for what comes from then on.
func (b *Budget) SetTotal(total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total = total
}

// Held returns how many bytes all requests hold.
func (b *Budget) Held() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

// Take has h hold so many bytes for a request of an identity of a tenant, in the place of
// what it held. It reports false, and changes nothing, if they have too much. One request
// uses a Hold at a time.
func (b *Budget) Take(h *Hold, tenantID, identityID string, size int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.budget != nil {
		tenantID, identityID = h.tenantName, h.identityID
	}
	t := b.tenants[tenantID]
	if t == nil {
		t = &tenant{identities: make(map[string]*identity)}
	}
	i := t.identities[identityID]
	if i == nil {
		i = &identity{}
	}
	others, ofTenant, ofIdentity := b.held-t.held, t.held-h.size, i.held-h.size
	mine := 0
	if h.budget != nil {
		mine = 1
	}
	if size > h.size && t.holds > mine {
		share := (b.total - others) / 2
		beside := ofTenant - ofIdentity // what other identities of the tenant hold
		if ofTenant+size > share || ofIdentity+size > (share-beside)/2 && i.holds > mine {
			return false
		}
	}
	if h.budget == nil {
		*h = Hold{budget: b, tenantName: tenantID, identityID: identityID, tenant: t, identity: i}
		b.tenants[tenantID], t.identities[identityID] = t, i
		t.holds++
		i.holds++
	}
	h.add(size - h.size)
	return true
}

func (h *Hold) add(n int64) {
	h.size += n
	h.identity.held += n
	h.tenant.held += n
	h.budget.held += n
}

// Release gives the memory back; more than once does nothing.
func (h *Hold) Release() {
	b := h.budget
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	h.add(-h.size)
	if h.identity.holds--; h.identity.holds == 0 {
		delete(h.tenant.identities, h.identityID)
	}
	if h.tenant.holds--; h.tenant.holds == 0 {
		delete(b.tenants, h.tenantName)
	}
	*h = Hold{}
}
