package audit

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of records that a peer can cause at will.
const (
	oftenBurst = 100         // of one sort, each written
	oftenEvery = time.Second // then one of them, with the number of those before it
	maxSorts   = 4096        // sorts told apart
)

// A sort is what records have in common that are written as one if they come often: all
// that says who was refused and why.
type sort struct {
	kind                                                    Kind
	tenant, identity, keyID, subject, tool, reason, outcome string
}

// often counts the records that [Log.WriteOften] has not written.
type often struct {
	mu    sync.Mutex
	sorts map[sort]*waiting
}

type waiting struct {
	bucket  *rate.Limiter
	last    *Record // of those not written; nil: none
	records int     // not written
}

// WriteOften is [Log.Write] for records that a peer can cause at will. If many of one
// sort come, one a second is written, with their number: else a flood of them would
// rotate all other records out of the files.
func (l *Log) WriteOften(r *Record) {
	if l == nil {
		return
	}
	if l.often.admit(r, l.flush) {
		l.Write(r)
	}
}

// admit reports whether a record is to be written now. If not, flush is called when the
// time has come for it.
func (o *often) admit(r *Record, flush func(sort)) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	s := sort{r.Kind, r.Tenant, r.Identity, r.KeyID, r.Subject, r.Tool, r.Reason, r.Outcome}
	w := o.sorts[s]
	if w == nil && len(o.sorts) >= maxSorts {
		o.forget(now)
		if len(o.sorts) >= maxSorts {
			s.identity, s.keyID, s.subject, s.tool = "", "", "", "" // of a tenant together
			w = o.sorts[s]
		}
	}
	if w == nil {
		w = &waiting{bucket: rate.NewLimiter(rate.Every(oftenEvery), oftenBurst)}
		if o.sorts == nil {
			o.sorts = make(map[sort]*waiting)
		}
		o.sorts[s] = w
	}
	if w.last == nil && w.bucket.AllowN(now, 1) {
		return true
	}
	if w.last == nil {
		time.AfterFunc(oftenEvery, func() { flush(s) })
	}
	last := *r
	w.last = &last
	w.records++
	return false
}

// forget drops the sorts of which nothing has come for long.
func (o *often) forget(now time.Time) {
	for s, w := range o.sorts {
		if w.last == nil && w.bucket.TokensAt(now) >= oftenBurst {
			delete(o.sorts, s)
		}
	}
}

// take returns what is to be written for the records of a sort that were not; nil: there
// are none.
func (o *often) take(s sort) *Record {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.sorts[s]
	if w == nil || w.last == nil {
		return nil
	}
	w.bucket.AllowN(time.Now(), 1)
	r := w.last
	if w.records > 1 {
		r.Records = w.records
	}
	w.last, w.records = nil, 0
	return r
}

func (l *Log) flush(s sort) {
	if r := l.often.take(s); r != nil {
		l.Write(r)
	}
}

// flushAll writes what is not written yet.
func (l *Log) flushAll() {
	l.often.mu.Lock()
	var all []sort
	for s, w := range l.often.sorts {
		if w.last != nil {
			all = append(all, s)
		}
	}
	l.often.mu.Unlock()
	for _, s := range all {
		l.flush(s)
	}
}
