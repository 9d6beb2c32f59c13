package spiffe

import (
	"cmp"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc/codes"
)

// advice returns what an operator can do where the stream ended like this.
func (s *Source) advice(code codes.Code) string {
	switch code {
	case codes.PermissionDenied:
		id := cmp.Or(s.opts.ID, s.ID(), "spiffe://"+cmp.Or(s.TrustDomain(), "TRUST-DOMAIN")+"/gate")
		return fmt.Sprintf("the agent knows no identity for this process; register one: spire-server entry create -parentID SPIFFE-ID-OF-THE-AGENT -spiffeID %s -selector unix:uid:%d", id, os.Getuid())
	case codes.Unavailable:
		return "see that the agent runs (spire-agent healthcheck), that the address is its, and that this process may open the socket"
	case codes.Unimplemented:
		return "what answers at this address is no SPIFFE Workload API; see the address"
	case codes.InvalidArgument:
		return "the agent takes the call for a forged one; see that nothing between strips the header workload.spiffe.io"
	case codes.ResourceExhausted:
		return fmt.Sprintf("the agent limits calls, or its answer is over %d MiB; see how many bundles this gate's entry federates with", maxMessage>>20)
	}
	return "see the agent's log"
}

// outlook says what is in force while the agent is of no help.
func (s *Source) outlook() string {
	if crt := s.Certificate(); crt != nil {
		return "the certificate in force holds until " + crt.Leaf.NotAfter.UTC().Format(time.RFC3339)
	}
	return "there is no certificate to show, handshakes fail"
}
