package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/sangate/sangate/server/servertest"
)

// silentVariable makes the test's own program a crowd that connects and says nothing.
const silentVariable = "SANGATE_TEST_SILENT"

// TestSilentCrowd is that crowd, in a process of its own: address of the gate, how many
// connections, and from how many addresses of the loopback network. A connection that
// the gate has dropped is opened again, so that the crowd stays as large.
func TestSilentCrowd(t *testing.T) {
	args := strings.Split(os.Getenv(silentVariable), "|")
	if len(args) != 3 {
		t.Skip("another test runs this")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := strconv.Atoi(args[2])
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	pace := rate.NewLimiter(500, 1) // of those that are opened again
	var opened atomic.Int64
	var crowd sync.WaitGroup
	for i := range n {
		from := i % addresses
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, byte(from/250), byte(1+from%250))}}
		crowd.Go(func() {
			for first := true; ctx.Err() == nil; first = false {
				if !first && pace.Wait(ctx) != nil {
					return
				}
				c, err := d.DialContext(ctx, "tcp", args[0])
				if err != nil {
					continue
				}
				if first {
					opened.Add(1)
				}
				end := context.AfterFunc(ctx, func() { _ = c.Close() })
				_, _ = io.Copy(io.Discard, c) // until it is dropped
				end()
				_ = c.Close()
			}
		})
		if i%50 == 0 {
			time.Sleep(time.Millisecond) // the gate's queue is short
		}
	}
	for opened.Load() < int64(n) && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	fmt.Println("all open")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the other test is done
	stop()
	crowd.Wait()
}

// Ten thousand silent connections of one address, and two thousand of as many, all of
// them opened again when they are dropped, leave every other client connected and
// answered: of an address of its own, and of the crowd's.
//
// Holds: stranger/silent-crowds
func TestScaleSilent(t *testing.T) {
	atScale(t)
	for name, crowd := range map[string]struct{ n, addresses int }{
		"10,000 of one address": {10_000, 1}, "2,000 of 2,000 addresses": {2_000, 2_000},
	} {
		t.Run(name, func(t *testing.T) {
			g := servertest.Start(t, servertest.Options{})
			cmd := exec.Command(os.Args[0], "-test.run=^TestSilentCrowd$", "-test.timeout=5m")
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d|%d", silentVariable, g.Addr, crowd.n, crowd.addresses))
			cmd.Stderr = os.Stderr
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = stdin.Close()
				_, _ = io.Copy(io.Discard, out)
				if err := cmd.Wait(); err != nil {
					t.Errorf("the crowd: %v", err)
				}
			})
			open := false
			for lines := bufio.NewScanner(out); !open && lines.Scan(); {
				open = lines.Text() == "all open"
			}
			if !open {
				t.Fatal("the crowd is not there")
			}
			if !servertest.WaitFor(func() bool {
				dropped := g.By("sangate_connections_dropped_total", "reason")
				return dropped["silent_address"]+dropped["silent_full"]+dropped["silent_timeout"] > 0
			}, time.Minute) {
				t.Fatal("no silent connection was dropped: the gate does not notice the crowd")
			}
			const clients = 100
			answered := 0
			for i := range clients {
				c := g.Client(g.Cert("acme"))
				if i%2 == 1 {
					c.Transport.(*http.Transport).DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, 0, 1)}}).DialContext
				}
				res, err := try(t, c, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("acme"))
				if err == nil && res.StatusCode == 200 {
					answered++
				} else {
					t.Logf("client %d: %v, %v", i, res, err)
				}
				c.CloseIdleConnections()
			}
			t.Logf("%d of %d clients answered; dropped: %v", answered, clients, g.By("sangate_connections_dropped_total", "reason"))
			if answered != clients {
				t.Errorf("%d of %d clients answered", answered, clients)
			}
		})
	}
}
