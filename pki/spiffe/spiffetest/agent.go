package spiffetest

import (
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// An SVID is an identity the agent offers.
type SVID struct {
	ID       string // whole, or a path in the agent's trust domain
	Hint     string
	Lifetime time.Duration
}

// An Agent serves until the test ends. Its methods are for the test's goroutine.
type Agent struct {
	*Domain
	network, address string

	server *grpc.Server
	served chan struct{} // closed when server has ended

	offered   []SVID
	federated []*Domain

	state   sync.Mutex                 // guards the fields below
	refuse  codes.Code                 // OK: none
	last    *workload.X509SVIDResponse // nil: nothing offered yet
	streams map[*stream]struct{}
	opened  int
	forged  int
	conns   int
}

// Start starts an agent of the trust domain on a unix socket. It offers nothing
// until [Agent.Issue] or [Agent.Offer].
func Start(t testing.TB, trustDomain string) *Agent {
	t.Helper()
	// Not t.TempDir: a socket's path is at most 108 bytes long.
	dir, err := os.MkdirTemp("", "spiffe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return start(t, trustDomain, "unix", filepath.Join(dir, "agent.sock"))
}

// StartTCP starts an agent on a loopback port.
func StartTCP(t testing.TB, trustDomain string) *Agent {
	t.Helper()
	return start(t, trustDomain, "tcp", "127.0.0.1:0")
}

func start(t testing.TB, trustDomain, network, address string) *Agent {
	t.Helper()
	a := &Agent{
		Domain: newDomain(t, trustDomain), network: network, address: address,
		streams: make(map[*stream]struct{}),
	}
	a.Restart()
	t.Cleanup(a.Stop)
	return a
}

// Address returns what to configure: unix:///… or tcp://….
func (a *Agent) Address() string { return a.network + "://" + a.address }

// Stop ends the server and its streams; the socket is gone.
func (a *Agent) Stop() {
	if a.server == nil {
		return
	}
	a.server.Stop()
	<-a.served
	a.server = nil
}

// Restart serves (again) at the same address, with what was last pushed.
func (a *Agent) Restart() {
	a.t.Helper()
	a.Stop()
	ln, err := net.Listen(a.network, a.address)
	if err != nil {
		a.t.Fatal(err)
	}
	a.address = ln.Addr().String()
	server, served := grpc.NewServer(grpc.StatsHandler(connections{a: a})), make(chan struct{})
	workload.RegisterSpiffeWorkloadAPIServer(server, service{a: a})
	a.server, a.served = server, served
	go func() {
		defer close(served)
		server.Serve(ln) // ends by Stop
	}()
}

// Issue offers one identity, newly signed, and pushes it.
func (a *Agent) Issue(id string, lifetime time.Duration) {
	a.t.Helper()
	a.Offer(SVID{ID: id, Lifetime: lifetime})
}

// Offer offers identities in this order, newly signed, and pushes them. It ends
// a Deny or Fail.
func (a *Agent) Offer(svids ...SVID) {
	a.t.Helper()
	a.offered = svids
	a.push()
}

// RotateRoot adds a root to the bundle, signs what is offered anew under it, and
// pushes. The old roots stay in the bundle until [Agent.RetireRoots].
func (a *Agent) RotateRoot() {
	a.t.Helper()
	a.rotate()
	a.push()
}

// RetireRoots takes all roots but the last from the bundle, and pushes.
func (a *Agent) RetireRoots() {
	a.t.Helper()
	a.retire()
	a.push()
}

// Federate adds another trust domain's bundle to all updates, and pushes. The
// domain returned makes clients of its own.
func (a *Agent) Federate(trustDomain string) *Domain {
	a.t.Helper()
	d := newDomain(a.t, trustDomain)
	a.federated = append(a.federated, d)
	a.push()
	return d
}

// Unfederate takes all federated bundles from the updates, and pushes.
func (a *Agent) Unfederate() {
	a.t.Helper()
	a.federated = nil
	a.push()
}

// push signs what is offered and sends it to all streams, and to those to come.
func (a *Agent) push() {
	a.t.Helper()
	if len(a.offered) == 0 {
		return
	}
	resp := &workload.X509SVIDResponse{FederatedBundles: make(map[string][]byte)}
	for _, s := range a.offered {
		m := Message(a.t, a.full(s.ID), a.issue(s.ID, s.Lifetime), a.Authorities())
		m.Hint = s.Hint
		resp.Svids = append(resp.Svids, m)
	}
	for _, d := range a.federated {
		resp.FederatedBundles["spiffe://"+d.Name] = der(d.Authorities())
	}
	a.PushRaw(resp)
}

// PushRaw sends an update as it is, to all streams and to those to come, until
// the next push. It ends a Deny or Fail.
func (a *Agent) PushRaw(resp *workload.X509SVIDResponse) {
	a.t.Helper()
	a.state.Lock()
	defer a.state.Unlock()
	a.refuse, a.last = codes.OK, resp
	for s := range a.streams {
		select {
		case s.updates <- resp:
		default:
			a.t.Error("spiffetest: a stream does not take its updates")
		}
	}
}

// Response returns a copy of what was last pushed, to be changed and given to
// [Agent.PushRaw].
func (a *Agent) Response() *workload.X509SVIDResponse {
	a.state.Lock()
	defer a.state.Unlock()
	resp := proto.CloneOf(a.last)
	if resp != nil && resp.FederatedBundles == nil { // what was empty
		resp.FederatedBundles = make(map[string][]byte)
	}
	return resp
}

// Deny ends all streams, and answers new ones, with PermissionDenied, as if the
// caller's registration entry was deleted. The next push ends it.
func (a *Agent) Deny() { a.Fail(codes.PermissionDenied) }

// Fail is Deny with any code; with codes.OK streams end as if all was well, and
// new ones are served.
func (a *Agent) Fail(code codes.Code) {
	a.state.Lock()
	defer a.state.Unlock()
	a.refuse = code
	for s := range a.streams {
		close(s.updates)
		delete(a.streams, s)
	}
}

// Streams returns how many streams are open.
func (a *Agent) Streams() int {
	a.state.Lock()
	defer a.state.Unlock()
	return len(a.streams)
}

// Connections returns how many connections are open.
func (a *Agent) Connections() int {
	a.state.Lock()
	defer a.state.Unlock()
	return a.conns
}

// Calls returns how many calls there have been, and how many of them were
// without the header.
func (a *Agent) Calls() (all, forged int) {
	a.state.Lock()
	defer a.state.Unlock()
	return a.opened, a.forged
}
