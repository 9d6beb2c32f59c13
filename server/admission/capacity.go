package admission

// A Capacity is how many connections there may be in each state.
type Capacity struct {
	Silent     int // without a whole ClientHello
	Handshakes int
	Open       int // authenticated
}

// Fit makes c fit into the files that the process may have open, an eighth of
// which (at most 1,024) stays free for upstreams, the store and the admin listener.
func (c Capacity) Fit() Capacity { return c.fit(openFiles()) }

func (c Capacity) fit(files int) Capacity {
	if files <= 0 {
		return c
	}
	c.Silent = max(min(c.Silent, files/8), 1)
	c.Handshakes = max(min(c.Handshakes, files/8), 1)
	c.Open = max(min(c.Open, files-c.Silent-c.Handshakes-min(files/8, 1024)), 1)
	return c
}
