package spiffetest

import (
	"slices"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type service struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	a *Agent
}

// A stream is one caller's.
type stream struct {
	updates chan *workload.X509SVIDResponse // closed: refused from now on
}

// FetchX509SVID sends updates until the caller or the agent ends it.
func (sv service) FetchX509SVID(_ *workload.X509SVIDRequest, out grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	// SPIFFE Workload Endpoint, 4: without it the call may be another's, forged.
	md, _ := metadata.FromIncomingContext(out.Context())
	s, err := sv.a.open(slices.Equal(md.Get("workload.spiffe.io"), []string{"true"}))
	if err != nil {
		return err
	}
	defer sv.a.close(s)
	for {
		select {
		case <-out.Context().Done():
			return nil
		case resp, ok := <-s.updates:
			if !ok {
				return sv.a.refusal()
			}
			if err := out.Send(resp); err != nil {
				return err
			}
		}
	}
}

func (a *Agent) open(header bool) (*stream, error) {
	a.state.Lock()
	defer a.state.Unlock()
	a.opened++
	switch {
	case !header:
		a.forged++
		return nil, status.Error(codes.InvalidArgument, "security header missing from request")
	case a.refuse != codes.OK:
		return nil, status.Error(a.refuse, "refused by the test")
	case a.last == nil:
		return nil, status.Error(codes.PermissionDenied, "no identity issued")
	}
	s := &stream{updates: make(chan *workload.X509SVIDResponse, 64)}
	s.updates <- a.last
	a.streams[s] = struct{}{}
	return s, nil
}

func (a *Agent) close(s *stream) {
	a.state.Lock()
	defer a.state.Unlock()
	delete(a.streams, s)
}

func (a *Agent) refusal() error {
	a.state.Lock()
	defer a.state.Unlock()
	return status.Error(a.refuse, "refused by the test")
}
