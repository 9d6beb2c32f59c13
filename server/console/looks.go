package console

import (
	"maps"
	"sync"
	"time"
)

// looks has one rendering serve all who follow the same view within a second.
type looks struct {
	mu sync.Mutex
	by map[lookKey]look
}

type lookKey struct{ path, query string }

type look struct {
	at   time.Time
	html func() ([]byte, error)
}

// fresh is how long a look serves: less than until who has had it comes again.
const fresh = lookEvery * 9 / 10

// of returns a look that is fresh, made by render where there is none.
func (l *looks) of(key lookKey, now time.Time, render func() ([]byte, error)) ([]byte, error) {
	l.mu.Lock()
	held, ok := l.by[key]
	if !ok || now.Sub(held.at) >= fresh {
		maps.DeleteFunc(l.by, func(_ lookKey, old look) bool { return now.Sub(old.at) >= fresh })
		held = look{now, sync.OnceValues(render)}
		l.by[key] = held
	}
	l.mu.Unlock()
	return held.html()
}
