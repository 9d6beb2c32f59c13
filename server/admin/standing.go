package admin

// standing reports on the high-water mark of the state database.
type standing struct{ refused, problem func() error }

// Standing sets the sources of the metrics of the high-water mark: refused returns an
// error if the database is refused, problem if the mark could not be verified or written.
func (m *Metrics) Standing(refused, problem func() error) {
	m.standing.Store(&standing{refused, problem})
}

func (m *Metrics) standings(f *definitions) {
	f.function("sangate_state_behind",
		"Whether the state database is refused because it is older than its high-water mark: 1, or 0.",
		func() float64 { return m.stands(func(s *standing) error { return s.refused() }) })
	f.function("sangate_state_mark_stale",
		"Whether the high-water mark of the state database could not be verified or written: 1, or 0.",
		func() float64 { return m.stands(func(s *standing) error { return s.problem() }) })
}

func (m *Metrics) stands(ask func(*standing) error) float64 {
	if s := m.standing.Load(); s != nil && ask(s) != nil {
		return 1
	}
	return 0
}
