package upstream

import (
	"context"
	"reflect"
	"slices"
	"sync"

	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/tool"
)

// A Pool runs the upstreams of the configuration in force: those that a new one
// names again go on as they are. Safe for concurrent use.
type Pool struct {
	mu      sync.Mutex
	current []*member
	ctx     context.Context // of Run; nil before
	wg      sync.WaitGroup
}

// A member is an upstream and what it was made of.
type member struct {
	conf   config.MCPServer
	made   any // what else it depends on
	server *Server
	stop   context.CancelFunc
}

// Use has the upstreams run that are configured, with opts, and no other. made
// is what opts were made of: where it has changed, all begin anew.
func (p *Pool) Use(servers []config.MCPServer, made any, opts Options) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var next []*member
	for _, conf := range servers {
		if !conf.Enabled {
			continue
		}
		n := slices.IndexFunc(p.current, func(m *member) bool {
			return reflect.DeepEqual(m.conf, conf) && reflect.DeepEqual(m.made, made)
		})
		if n >= 0 {
			p.current[n].server.Wake() // discovery at each reload
			next = append(next, p.current[n])
			continue
		}
		m := &member{conf: conf, made: made}
		m.server = New(&m.conf, opts)
		next = append(next, m)
	}
	for _, m := range p.current {
		if m.stop != nil && !slices.Contains(next, m) {
			m.stop()
		}
	}
	p.current = next
	p.start()
}

// start runs those that do not run yet, once Run is there. Callers hold mu.
func (p *Pool) start() {
	if p.ctx == nil || p.ctx.Err() != nil {
		return
	}
	for _, m := range p.current {
		if m.stop == nil {
			var ctx context.Context
			ctx, m.stop = context.WithCancel(p.ctx)
			p.wg.Go(func() { m.server.Run(ctx) })
		}
	}
}

// Run keeps them looking until ctx ends.
func (p *Pool) Run(ctx context.Context) {
	p.mu.Lock()
	p.ctx = ctx
	p.start()
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock() // a Use that is at it sees that ctx has ended
	for _, m := range p.current {
		if m.stop != nil {
			m.stop()
		}
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// Offers returns what there is, in the order of the configuration.
func (p *Pool) Offers() []*tool.Offer {
	var out []*tool.Offer
	for _, m := range p.members() {
		if o := m.server.Offer(); o != nil {
			out = append(out, o)
		}
	}
	return out
}

// Sources returns the sources of offers, whether there is one yet or not.
func (p *Pool) Sources() []string {
	var out []string
	for _, m := range p.members() {
		out = append(out, m.conf.Name)
	}
	return out
}

// Wake has all look again that refer to the credential; 0: all.
func (p *Pool) Wake(credentialID int64) {
	for _, m := range p.members() {
		if credentialID == 0 || m.conf.CredentialID == credentialID {
			m.server.Wake()
		}
	}
}

func (p *Pool) members() []*member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.current)
}
