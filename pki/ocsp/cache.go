package ocsp

import (
	"container/list"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Cache holds what responders said. Make one with [New] and run it.
type Cache struct {
	opts   Options
	client *http.Client
	ours   bool          // the transport, not the caller's
	wake   chan struct{} // told when there is something to look at sooner
	begun  atomic.Bool
	ended  chan struct{} // closed when Run ended

	mu      sync.Mutex
	entries map[key]*Entry
	issuers map[[sha256.Size]byte]*issuer
	order   *list.List // of entries, the one unused for longest first
	waiting []*Entry   // first look-ups; may hold entries that went out of the cache
	healthy line       // refreshes of answers
	ailing  line       // looks again after a failure, which wait for all others
}

// A key names a certificate by its own bytes and by its issuer's name and key.
type key struct{ cert, issuer [sha256.Size]byte }

// An issuer is parsed once for each connection, and kept once for all entries.
type issuer struct {
	cert    *x509.Certificate
	entries int
}

// New checks the options. It starts nothing: call [Cache.Run].
func New(opts Options) (*Cache, error) {
	ours := opts.Transport == nil
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Cache{
		opts:    opts,
		client:  newClient(&opts),
		ours:    ours,
		wake:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
		entries: make(map[key]*Entry),
		issuers: make(map[[sha256.Size]byte]*issuer),
		order:   list.New(),
	}, nil
}

// Len returns how many entries are held.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}

// Entry returns the entry of the leaf of a verified chain, leaf first: the same
// for the same certificate of the same issuer while it is held. One not held is
// asked about as soon as may be; Entry does not wait for it. Where nobody can be
// asked, the entry stays Unknown and says why.
func (c *Cache) Entry(chain []*x509.Certificate) *Entry {
	if len(chain) < 2 {
		return mute(errors.New("no issuer to ask about: the chain ends with the certificate itself"))
	}
	leaf, above := chain[0], chain[1]
	address, err := c.opts.addressOf(leaf, above)
	if err != nil {
		return mute(err)
	}
	k := key{sha256.Sum256(leaf.Raw), issuerKey(above)}
	now := c.opts.Now()
	c.mu.Lock()
	if e := c.entries[k]; e != nil {
		e.used.Store(now.Unix())
		c.mu.Unlock()
		return e
	}
	if known := c.issuers[k.issuer]; known != nil {
		above = known.cert
	}
	e := &Entry{
		cache: c, key: k,
		serial:   new(big.Int).Set(leaf.SerialNumber),
		notAfter: leaf.NotAfter,
		issuer:   above,
		address:  strings.Clone(address),
	}
	e.used.Store(now.Unix())
	e.state.Store(&state{ended: "no answer about it of its OCSP responder yet"})
	n := news{postponed: c.hold(e, now)}
	c.mu.Unlock()
	c.tell(n)
	return e
}

// mute is an entry that nobody can be asked about.
func mute(err error) *Entry {
	e := &Entry{}
	e.state.Store(&state{ended: err.Error()})
	return e
}

func issuerKey(cert *x509.Certificate) [sha256.Size]byte {
	name := sha256.Sum256(cert.RawSubject)
	spki := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return sha256.Sum256(append(name[:], spki[:]...))
}

// revive brings an entry back that went out, and returns the one that answers
// for it.
func (c *Cache) revive(e *Entry, now time.Time) *Entry {
	c.mu.Lock()
	e, news := c.bring(e, now)
	c.mu.Unlock()
	c.tell(news)
	return e
}

// bring is revive under the lock. Where another entry is held for the same
// certificate by now, that one answers for both, with what both know; the first
// is never held again, so that moves make no circle.
func (c *Cache) bring(e *Entry, now time.Time) (*Entry, news) {
	e = e.follow() // it may have moved while the lock was not ours
	other := c.entries[e.key]
	switch other {
	case e:
		return e, news{}
	case nil:
		return e, news{postponed: c.hold(e, now)}
	}
	changed := false
	if s := e.state.Load(); s.answered() {
		changed, _ = other.take(&s.answer, now)
	}
	other.used.Store(now.Unix())
	e.moved.Store(other)
	e.finish()
	return other, news{changed: changed}
}

// news is what others are to hear of once the lock is let go.
type news struct{ postponed, changed bool }

func (c *Cache) tell(n news) {
	if n.postponed {
		err := errors.New("too many certificates wait for their first look at an OCSP responder")
		c.opts.Logger.Debug("OCSP look-up postponed", "err", err)
		c.opts.OnAnswer(Postponed, err)
	}
	if n.changed {
		c.opts.Notify()
	}
}

// hold puts e into the cache and in line for a look, and others out of it. It
// tells whether the line for first look-ups was full.
func (c *Cache) hold(e *Entry, now time.Time) (postponed bool) {
	c.entries[e.key] = e
	if c.issuers[e.key.issuer] == nil {
		c.issuers[e.key.issuer] = &issuer{cert: e.issuer}
	}
	c.issuers[e.key.issuer].entries++
	e.marked = e.used.Load()
	e.place = c.order.PushBack(e)
	e.held.Store(true)
	c.shrink(e)
	switch {
	case e.first, e.busy: // since before it went out
		return false
	case e.state.Load().holds(now):
		c.schedule(e, now)
		return false
	case len(c.waiting) < maxWaiting:
		e.first = true
		c.waiting = append(c.waiting, e)
		c.stir()
		return false
	}
	c.put(e, &c.ailing, now.Add(firstBackoff))
	return true
}

// maxChances bounds how many entries are passed over at once for having been
// used since they were put in order.
const maxChances = 64

// shrink puts out what was unused for longest until the bound is kept, but not
// the newcomer. Entries that were used since they were put in order go to the
// back first, so that a use need not take the lock.
func (c *Cache) shrink(newcomer *Entry) {
	for chances := 0; len(c.entries) > c.opts.Max; {
		e := c.order.Front().Value.(*Entry)
		used := e.used.Load()
		if e == newcomer || used != e.marked && chances < maxChances {
			e.marked = used
			c.order.MoveToBack(e.place)
			chances++
			continue
		}
		c.drop(e)
	}
}

// drop puts e out. Those who have it can go on with it; see touch.
func (c *Cache) drop(e *Entry) {
	delete(c.entries, e.key)
	c.order.Remove(e.place)
	e.place = nil
	e.held.Store(false)
	c.leave(e)
	if known := c.issuers[e.key.issuer]; known.entries > 1 {
		known.entries--
	} else {
		delete(c.issuers, e.key.issuer)
	}
}

// finish tells those who wait that a look ended.
func (e *Entry) finish() {
	if e.done != nil {
		close(e.done)
		e.done = nil
	}
}

// wait returns what is closed when the next look at e ended, or nil where there
// is nothing to wait for: there is an answer, or no look before ctx ends; and
// the entry that answers for e.
func (c *Cache) wait(ctx context.Context, e *Entry) (*Entry, <-chan struct{}) {
	now := c.opts.Now()
	c.mu.Lock()
	e, news := c.bring(e, now)
	defer c.tell(news)
	defer c.mu.Unlock()
	if e.state.Load().holds(now) {
		return e, nil
	}
	if end, ok := ctx.Deadline(); ok && e.line != nil && e.due.Sub(now) > time.Until(end) {
		return e, nil
	}
	if e.done == nil {
		e.done = make(chan struct{})
	}
	return e, e.done
}
