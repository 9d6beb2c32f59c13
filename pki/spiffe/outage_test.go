package spiffe_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"

	"github.com/sangate/sangate/pki/spiffe"
	"github.com/sangate/sangate/pki/spiffe/spiffetest"
)

func TestAgentGone(t *testing.T) {
	agent := spiffetest.Start(t, domain)
	agent.Issue("/gate", time.Hour)
	s := follow(t, agent, spiffe.Options{})
	s.taken()
	first := s.Certificate()

	agent.Stop()
	e := s.next(spiffe.OpConnect)
	if e.Err == nil || e.Changed || !e.NotAfter.Equal(first.Leaf.NotAfter) || time.Until(e.Next) > 2*time.Second {
		t.Errorf("event %+v", e)
	}
	if s.Certificate() != first || len(s.Bundles()) != 1 {
		t.Error("the last good is not in force")
	}
	s.next(spiffe.OpConnect) // it tries again, and there is still nobody
	s.logged("no updates from the SPIFFE agent", "spire-agent healthcheck", "tryAgainIn=", "the certificate in force holds until")

	agent.Restart()
	if e := s.taken(); e.Changed || s.Certificate() != first {
		t.Errorf("the same certificate after a restart: %+v", e)
	}
	s.logged("answers again")
	agent.Issue("/gate", time.Hour)
	s.taken()
	if s.Certificate() == first {
		t.Error("no update after the agent's restart")
	}
	if n := strings.Count(s.log.String(), "answers again"); n != 1 {
		t.Errorf("said %d times that the agent is back", n)
	}
}

func TestStartsWithoutAgent(t *testing.T) {
	agent := spiffetest.Start(t, domain)
	agent.Stop()
	s := follow(t, agent, spiffe.Options{ID: gateID})
	s.next(spiffe.OpConnect)
	s.logged("level=ERROR", "there is no certificate to show")
	select {
	case <-s.Ready():
		t.Error("ready, of what?")
	default:
	}
	if s.Certificate() != nil || s.Bundles() != nil || s.TrustDomain() != domain {
		t.Errorf("%v, %v, %s", s.Certificate(), s.Bundles(), s.TrustDomain())
	}
	agent.Restart()
	s.next(spiffe.OpConnect) // nothing is registered yet
	agent.Issue("/gate", time.Hour)
	<-s.Ready()
}

// Whatever the agent answers, it is asked again, and the last good stays. On
// Canceled and InvalidArgument go-spiffe's client gives up.
func TestAgentRefuses(t *testing.T) {
	for code, say := range map[codes.Code]string{
		codes.PermissionDenied:  "spire-server entry create -parentID SPIFFE-ID-OF-THE-AGENT -spiffeID " + gateID + " -selector unix:uid:",
		codes.Canceled:          "see the agent's log",
		codes.InvalidArgument:   "workload.spiffe.io",
		codes.Unimplemented:     "no SPIFFE Workload API",
		codes.ResourceExhausted: "over 4 MiB",
	} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			agent := spiffetest.Start(t, domain)
			agent.Issue("/gate", time.Hour)
			s := follow(t, agent, spiffe.Options{})
			s.taken()
			first := s.Certificate()
			agent.Fail(code)
			for range 2 {
				if e := s.next(spiffe.OpConnect); status.Code(e.Err) != code {
					t.Errorf("event %+v", e)
				}
			}
			if s.Certificate() != first {
				t.Error("the last good is not in force")
			}
			s.logged(say)
			agent.Issue("/gate", time.Hour)
			s.taken()
			if s.Certificate() == first {
				t.Error("no update after the agent has come round")
			}
			within(t, "the connections given up are closed", func() bool { return agent.Connections() == 1 })
		})
	}
}

func TestDeny(t *testing.T) {
	agent := spiffetest.Start(t, domain)
	agent.Issue("/front", time.Hour)
	s := follow(t, agent, spiffe.Options{})
	s.taken()
	agent.Deny()
	if e := s.next(spiffe.OpConnect); status.Code(e.Err) != codes.PermissionDenied || s.Certificate() == nil {
		t.Errorf("event %+v", e)
	}
	s.logged("-spiffeID spiffe://example.org/front ")
}

// A stream that ends without an error is lost all the same, and no bad update.
func TestAgentHangsUp(t *testing.T) {
	agent := spiffetest.Start(t, domain)
	agent.Issue("/gate", time.Hour)
	s := follow(t, agent, spiffe.Options{})
	s.taken()
	agent.Fail(codes.OK)
	if e := <-s.events; e.Op != spiffe.OpConnect || !errors.Is(e.Err, io.EOF) {
		t.Errorf("event %+v", e)
	}
	if e := s.taken(); e.Changed {
		t.Errorf("event %+v", e)
	}
}

// An ended certificate is not shown, and the log says so even where the agent
// is there and silent.
func TestCertificateEnds(t *testing.T) {
	var c clock
	agent := spiffetest.Start(t, domain)
	agent.Issue("/gate", time.Hour)
	s := follow(t, agent, spiffe.Options{Now: c.now})
	s.taken()
	c.move(59 * time.Minute)
	if s.Certificate() == nil {
		t.Error("gone before its end")
	}
	c.move(2 * time.Minute)
	if s.Certificate() != nil || len(s.Bundles()) != 1 {
		t.Error("an ended certificate is shown, or the bundles are gone with it")
	}
	agent.Issue("/gate", 2*time.Hour)
	s.taken()
	if s.Certificate() == nil {
		t.Error("there is none after the end")
	}
}

func TestRunEnds(t *testing.T) {
	agent := spiffetest.Start(t, domain)
	agent.Issue("/gate", time.Hour)
	s := follow(t, agent, spiffe.Options{})
	s.taken()
	if err := s.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	within(t, "stream and connection end with Run", func() bool { return agent.Streams() == 0 && agent.Connections() == 0 })
	if s.Certificate() == nil || len(s.events) != 0 {
		t.Errorf("%d events after the end", len(s.events))
	}
}

func TestWarnsOfNetwork(t *testing.T) {
	log := new(logBuffer)
	s, err := spiffe.New(spiffe.Options{Address: "tcp://192.0.2.1:1", Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	if (&running{t: t, log: log}).logged("private keys cross it in clear"); t.Failed() {
		t.FailNow()
	}
}

// The fake is as strict as an agent: no header, no certificate.
func TestFakeWantsHeader(t *testing.T) {
	agent := spiffetest.Start(t, domain)
	agent.Issue("/gate", time.Hour)
	conn, err := grpc.NewClient(agent.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := workload.NewSpiffeWorkloadAPIClient(conn).FetchX509SVID(t.Context(), &workload.X509SVIDRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if _, forged := agent.Calls(); status.Code(err) != codes.InvalidArgument || forged != 1 {
		t.Errorf("%v, %d without the header", err, forged)
	}
}
