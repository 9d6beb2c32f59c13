package server

import (
	"sync"

	"github.com/sangate/sangate/server/intake"
)

// memory is what one request takes of the budget of requests. Safe for concurrent use: backends' answers are read in
// goroutines that may outlive the request.
type memory struct {
	mu           sync.Mutex
	held         intake.Hold
	body, answer int64
	released     bool
}

// take counts a body of so many bytes (0: as it was) and more bytes of answers. It reports false if that is too much.
func (m *memory) take(budget *intake.Budget, of *answerWriter, body, more int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.released {
		return true
	}
	if body == 0 {
		body = m.body
	}
	if !budget.Take(&m.held, of.tenant, of.identity, body+m.answer+more) {
		return false
	}
	m.body = body
	m.answer += more
	return true
}

func (m *memory) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.released = true
	m.held.Release()
}
