// Package unread bounds the memory of answers that are being written and that their
// clients have not read yet: those of each identity, of each tenant, and all of them.
//
// A [Budget] never refuses an answer. If a bound is exceeded, it cuts others: of the
// identity, of the tenant's identity that holds most, or of the tenant that holds
// most, first those that have waited longest for their client. The new answer does not
// count in that comparison, so a tenant loses an answer to another tenant only if it
// already holds as much or more. A bound is exceeded only by an answer that alone is
// larger.
//
// Nothing here starts a goroutine. All types are safe for concurrent use.
package unread

import (
	"sync"
	"time"
)

// A Reason says why an answer was cut. Reasons are metric labels.
type Reason string

// The reasons.
const (
	Stalled       Reason = "stalled"        // its client read nothing of it for too long
	IdentityBytes Reason = "identity_bytes" // the identity holds too much
	TenantBytes   Reason = "tenant_bytes"   // the tenant holds too much
	TotalBytes    Reason = "total_bytes"    // all answers together are too much
)

// Reasons lists all reasons.
func Reasons() []Reason { return []Reason{Stalled, IdentityBytes, TenantBytes, TotalBytes} }

// An Answer is what holds memory.
type Answer interface {
	// Waited returns for how long the client has read nothing of it. It must not block.
	Waited(now time.Time) time.Duration
	// Cut ends the answer. It is called at most once, without a lock of the Budget.
	Cut(why Reason)
}

// Bounds of a [Budget], in bytes.
type Bounds struct{ Total, Tenant, Identity int64 }

// A Budget counts the memory of answers.
type Budget struct {
	mu      sync.Mutex
	bounds  Bounds
	held    int64
	tenants map[string]*tenant
}

type tenant struct {
	name       string
	held       int64
	identities map[string]*identity
}

type identity struct {
	tenant      *tenant
	name        string
	held        int64
	first, last *Hold // the oldest first
}

// A Hold is the memory of one answer.
type Hold struct {
	budget     *Budget
	of         *identity // nil: released or cut
	size       int64
	answer     Answer
	prev, next *Hold // of the identity
}

// New makes a budget.
func New(b Bounds) *Budget { return &Budget{bounds: b, tenants: make(map[string]*tenant)} }

// SetBounds changes the bounds for answers that come from then on.
func (b *Budget) SetBounds(bounds Bounds) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bounds = bounds
}

// Held returns how many bytes all answers hold.
func (b *Budget) Held() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

// A cut is an answer that has to end.
type cut struct {
	answer Answer
	why    Reason
}

// Hold counts the bytes of an answer of an identity of a tenant until the Hold is
// released, and cuts others if that exceeds a bound.
func (b *Budget) Hold(tenantID, identityID string, size int64, a Answer) *Hold {
	h, cuts := b.enter(tenantID, identityID, size, a)
	for _, c := range cuts {
		c.answer.Cut(c.why)
	}
	return h
}

func (b *Budget) enter(tenantID, identityID string, size int64, a Answer) (h *Hold, cuts []cut) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tenants[tenantID]
	if t == nil {
		t = &tenant{name: tenantID, identities: make(map[string]*identity)}
		b.tenants[tenantID] = t
	}
	i := t.identities[identityID]
	if i == nil {
		i = &identity{tenant: t, name: identityID}
		t.identities[identityID] = i
	}
	h = &Hold{budget: b, of: i, size: size, answer: a}
	i.push(h)
	b.add(i, size)
	now := time.Now()
	for {
		from, why := b.over(h)
		if from == nil {
			return h, cuts
		}
		victim := from.stalest(h, now)
		if victim == nil {
			return h, cuts // h alone is more than the bound
		}
		cuts = append(cuts, cut{victim.answer, why})
		b.remove(victim)
	}
}

// Release gives the memory back; more than once does nothing.
func (h *Hold) Release() {
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	h.budget.remove(h)
}

// over returns the identity that has to lose an answer because of h, or nil.
func (b *Budget) over(h *Hold) (*identity, Reason) {
	i := h.of
	switch {
	case i.held > b.bounds.Identity:
		return i, IdentityBytes
	case i.tenant.held > b.bounds.Tenant:
		return i.tenant.largest(h), TenantBytes
	case b.held > b.bounds.Total:
		most, held := i.tenant, i.tenant.held-h.size
		for _, t := range b.tenants {
			if t.held > held && t != i.tenant {
				most, held = t, t.held
			}
		}
		return most.largest(h), TotalBytes
	}
	return nil, ""
}

// largest returns the identity that holds most beside h.
func (t *tenant) largest(h *Hold) (most *identity) {
	var held int64
	for _, i := range t.identities {
		beside := i.held
		if i == h.of {
			beside -= h.size
		}
		if most == nil || beside > held {
			most, held = i, beside
		}
	}
	return most
}

// sample is how many answers, the oldest first, are looked at for one to cut.
const sample = 32

// stalest returns the answer of i but h that has waited longest for its client, of
// the oldest ones, or nil.
func (i *identity) stalest(h *Hold, now time.Time) (found *Hold) {
	var longest time.Duration
	seen := 0
	for x := i.first; x != nil && seen < sample; x = x.next {
		if x == h {
			continue
		}
		seen++
		if waited := x.answer.Waited(now); found == nil || waited > longest {
			found, longest = x, waited
		}
	}
	return found
}

func (b *Budget) add(i *identity, size int64) {
	b.held += size
	i.tenant.held += size
	i.held += size
}

func (i *identity) push(h *Hold) {
	if h.prev = i.last; h.prev == nil {
		i.first = h
	} else {
		h.prev.next = h
	}
	i.last = h
}

func (b *Budget) remove(h *Hold) {
	i := h.of
	if i == nil {
		return
	}
	if h.prev == nil {
		i.first = h.next
	} else {
		h.prev.next = h.next
	}
	if h.next == nil {
		i.last = h.prev
	} else {
		h.next.prev = h.prev
	}
	h.of, h.prev, h.next = nil, nil, nil
	b.add(i, -h.size)
	if i.first == nil {
		delete(i.tenant.identities, i.name)
	}
	if len(i.tenant.identities) == 0 {
		delete(b.tenants, i.tenant.name)
	}
}
