package ocsp

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"
)

// Pauses between looks.
const (
	shortest     = time.Second // that are taken after an answer
	firstBackoff = time.Second
	lastBackoff  = time.Minute // without an answer; longer, where one has long to go
	longestSleep = time.Minute // after which the clock is looked at again
)

// A line is a heap of entries, the one due first on top.
type line []*Entry

func (l line) Len() int           { return len(l) }
func (l line) Less(i, j int) bool { return l[i].due.Before(l[j].due) }
func (l line) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].index, l[j].index = i, j
}

func (l *line) Push(x any) {
	e := x.(*Entry)
	e.index = len(*l)
	*l = append(*l, e)
}

func (l *line) Pop() any {
	last := len(*l) - 1
	e := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	return e
}

func (c *Cache) put(e *Entry, l *line, due time.Time) {
	e.line, e.due = l, due
	heap.Push(l, e)
	if e.index == 0 {
		c.stir()
	}
}

func (c *Cache) leave(e *Entry) {
	if e.line != nil {
		heap.Remove(e.line, e.index)
		e.line = nil
	}
}

// stir wakes one who sleeps.
func (c *Cache) stir() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// next returns an entry to be looked at now, or how long to sleep. First
// look-ups go first, then refreshes of what is in force, then what failed
// before: a responder that hangs holds up its own certificates, not others'.
func (c *Cache) next(now time.Time) (*Entry, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		e := c.pop(now)
		switch {
		case e == nil:
			return nil, c.sleep(now)
		case e.moved.Load() != nil:
			e.finish()
		case c.forget(e, now):
		default:
			e.busy = true
			c.stir() // there may be more
			return e, 0
		}
	}
}

func (c *Cache) pop(now time.Time) *Entry {
	if len(c.waiting) > 0 {
		e := c.waiting[0]
		c.waiting = slices.Delete(c.waiting, 0, 1)
		e.first = false
		return e
	}
	for _, l := range []*line{&c.healthy, &c.ailing} {
		if len(*l) > 0 && !(*l)[0].due.After(now) {
			e := (*l)[0]
			c.leave(e)
			return e
		}
	}
	return nil
}

func (c *Cache) sleep(now time.Time) time.Duration {
	pause := longestSleep
	for _, l := range []line{c.healthy, c.ailing} {
		if len(l) > 0 {
			pause = min(pause, l[0].due.Sub(now))
		}
	}
	return pause
}

// forget puts e out where it is of no more use: its certificate ended, or nobody
// asked about it for long. A revocation nobody asks about is kept, but not
// looked at.
func (c *Cache) forget(e *Entry, now time.Time) bool {
	idle := now.Sub(time.Unix(e.used.Load(), 0)) > c.opts.Idle
	switch {
	case e.place == nil: // went out while it waited; somebody may hold on to it
		return false
	case now.After(e.notAfter):
		c.drop(e)
		e.finish()
		return true
	case idle && e.state.Load().status == Revoked:
		c.put(e, &c.healthy, now.Add(c.opts.Every))
		return true
	case idle:
		c.drop(e)
		e.finish()
		return true
	}
	return false
}

// schedule puts e in line for its next look.
func (c *Cache) schedule(e *Entry, now time.Time) {
	s := e.state.Load()
	left := s.until.Sub(now)
	if e.failed == 0 {
		pause := c.opts.Every
		if left > 0 {
			pause = max(min(pause, left/2), shortest)
		}
		c.put(e, &c.healthy, now.Add(jitter(pause, 0.2)))
		return
	}
	most := max(lastBackoff, left/8)
	if s.status == Revoked {
		most = c.opts.Every // more is hardly to be learnt
	}
	pause := min(firstBackoff<<min(e.failed-1, 30), most, c.opts.Every)
	c.put(e, &c.ailing, now.Add(jitter(pause, 0.5)))
}

// jitter takes up to the given part away.
func jitter(d time.Duration, part float64) time.Duration {
	return d - time.Duration(rand.Float64()*part*float64(d))
}
