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
	slot, ok := l.handshakes.Acquire(ctx, from, c.Drop)
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

// countedUnder returns the tenant and identity whose share a connection takes, and
// the identity's name for display. A certificate that maps to no tenant has tenant ""
// and is an identity of its own, whatever its names are.
func countedUnder(s *auth.Snapshot, peer *pki.Peer) (id, identity, name string) {
	if peer.IdentityErr != nil {
		return "", string(peer.Identity.Fingerprint[:]), ""
	}
	if i, ok := s.Proxies.Match(peer); ok {
		return proxies, peer.Identity.Key(i), peer.Identity.SANs[i].Value
	}
	if m, reason := s.Tenants.Identify(peer.Identity); reason == "" {
		return m.ID, peer.Identity.Key(m.SAN), peer.Identity.SANs[m.SAN].Value
	}
	if s.Admins != nil {
		if m, reason := s.Admins.Identify(peer.Identity); reason == "" {
			return tenant.Admins, peer.Identity.Key(m.SAN), peer.Identity.SANs[m.SAN].Value
		}
	}
	return "", string(peer.Identity.Fingerprint[:]), peer.Identity.Name()
}
