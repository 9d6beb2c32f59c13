package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"os"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/admission"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/tenant"
)

// Bounds of handshakes while more clients want one than there are slots.
const (
	addressShare   = 0.75 // of the slots, for one address
	handshakeStall = 500 * time.Millisecond
)

// proxies stands for a tenant for the connections of proxies; no tenant can have
// that id.
const proxies = "@proxies"

// greet waits for a ClientHello and a handshake slot, and then does the handshake.
// Until the ClientHello is there the connection may be dropped for a newer one.
func (l *listener) greet(c *connection, from netip.Prefix, place *admission.Place, base *tls.Config) {
	stop := context.AfterFunc(l.ctx, c.Drop)
	defer stop()
	defer place.Leave() // if something panics
	hello, err := admission.ReadHello(c.Conn, l.helloTimeout)
	if err != nil {
		defer c.Close()
		if why := place.Leave(); why != "" {
			l.metrics.ConnectionDropped(why)
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			l.metrics.ConnectionDropped(admission.SilentTimeout)
			l.metrics.HandshakeRefused(pki.Timeout)
		} else if l.ctx.Err() == nil {
			l.metrics.HandshakeRefused(pki.Aborted)
		}
		return
	}
	c.head = hello
	ctx, cancel := context.WithTimeout(l.ctx, l.timeout) // of the wait for a slot and the handshake together
	defer cancel()
	slot, ok := l.handshakes.Acquire(ctx, from, func() { c.Drop(); cancel() })
	why := place.Leave()
	if !ok {
		if why == "" {
			why = admission.HandshakeFull
		}
		l.metrics.ConnectionDropped(why)
		_ = c.Close()
		return
	}
	stop() // from here on the context of the handshake does it
	c.slot = slot
	defer func() {
		if slot.Release() {
			l.metrics.ConnectionDropped(admission.HandshakeStall)
		}
	}()
	l.handshake(ctx, c, tls.Server(c, base))
}

// most returns a share of n, at least 1.
func most(n int, share float64) int { return max(int(float64(n)*share), 1) }

func sharesOf(open int, l config.Limits) admission.Bounds {
	return admission.Bounds{Total: open, Tenant: most(open, l.TenantShare), Identity: most(open, l.IdentityShare), Unmapped: l.MaxUnmapped}
}

// A holder is the tenant and identity whose shares a connection takes.
type holder struct {
	tenant, identity string
	name             string // of the identity, for display
	connections      int    // that the tenant may have, if not 0
}

// holderOf returns who a connection is counted for. A certificate that maps to no tenant
// has tenant "" and is an identity of its own, whatever its names are.
func holderOf(s *auth.Snapshot, peer *pki.Peer) holder {
	if peer.IdentityErr != nil {
		return holder{identity: string(peer.Identity.Fingerprint[:])}
	}
	of := func(id string, san, connections int) holder {
		return holder{id, peer.Identity.Key(san), peer.Identity.SANs[san].Value, connections}
	}
	if i, ok := s.Proxies.Match(peer); ok {
		return of(proxies, i, 0)
	}
	if m, reason := s.Tenants.Identify(peer.Identity); reason == "" {
		return of(m.ID, m.SAN, m.Tenant.Connections)
	}
	if s.Admins != nil {
		if m, reason := s.Admins.Identify(peer.Identity); reason == "" {
			return of(tenant.Admins, m.SAN, 0)
		}
	}
	return holder{identity: string(peer.Identity.Fingerprint[:]), name: peer.Identity.Name()}
}
