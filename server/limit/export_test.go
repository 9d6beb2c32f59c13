package limit

// Held returns how many counts there are.
func (l *Limiter) Held() (n int) {
	for i := range l.shards {
		l.shards[i].mu.Lock()
		n += len(l.shards[i].counts)
		l.shards[i].mu.Unlock()
	}
	return n
}
