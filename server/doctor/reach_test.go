package doctor_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/doctor"
	"github.com/sangate/sangate/server/servertest"
)

// named has the client ask by a name of the gate's certificate, with these addresses.
func (w *world) named(o *doctor.Options, addrs ...string) (port string) {
	w.Helper()
	_, port, err := net.SplitHostPort(w.Addr)
	if err != nil {
		w.Fatal(err)
	}
	o.URL = "https://gate.example.org:" + port
	o.Lookup = func(context.Context, string, string) (out []netip.Addr, err error) {
		for _, a := range addrs {
			out = append(out, netip.MustParseAddr(a))
		}
		return out, nil
	}
	return port
}

// All addresses of a name are dialled, up to a bound; those that do not answer are
// told, though one does.
func TestAddresses(t *testing.T) {
	w := newWorld(t)
	o := w.client()
	port := w.named(o, "127.0.0.2", "127.0.0.3", "127.0.0.1")
	w.full("127.0.0.3:" + port)
	text := told(w.examine(o))
	for _, want := range []string{"127.0.0.1:" + port + " takes connections", "2 of 3 addresses do not answer", "127.0.0.2:" + port + ": connect: connection refused", "127.0.0.3:" + port + ": no answer"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not tell %q\n%s", want, text)
		}
	}
	w.named(o, "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.7", "127.0.0.8", "127.0.0.1", "127.0.0.9")
	if r := w.examine(o); !r.Good || !strings.Contains(told(r), "1 more is not looked at") || strings.Contains(told(r), "127.0.0.9:") {
		t.Errorf("found %q\n%s", r.Finding, told(r))
	}
}

// A proxy of the environment, which other clients go through, is told, and nothing of
// its password.
func TestProxy(t *testing.T) {
	w := newWorld(t)
	o := w.client()
	t.Setenv("HTTPS_PROXY", "http://user:hidden@proxy.example:3128")
	if text := told(w.examine(o)); strings.Contains(text, "proxy") {
		t.Errorf("no proxy is used for loopback\n%s", text)
	}
	w.named(o, "127.0.0.1")
	r := w.examine(o)
	if text := told(r); !r.Good || !strings.Contains(text, "HTTPS_PROXY=proxy.example:3128 is set") || strings.Contains(text, "hidden") || strings.Contains(text, "user") {
		t.Errorf("found %q\n%s", r.Finding, text)
	}
	o.Lookup, o.URL = nil, "https://gate.invalid"
	if text := told(w.examine(o)); !strings.Contains(text, "HTTPS_PROXY=proxy.example:3128 is set") {
		t.Errorf("it is not told of a name that only the proxy knows\n%s", text)
	}
}

// A good run leaves the gate no refusal.
func TestLeavesNothing(t *testing.T) {
	w := newWorld(t)
	if r := w.examine(w.client()); !r.Good {
		t.Fatal(told(r))
	}
	var counted map[string]float64
	if !servertest.WaitFor(func() bool {
		counted = w.By("sangate_tls_handshakes_total", "result")
		return counted["ok"] == 3 // /health, the metadata, /tools
	}, 5*time.Second) {
		t.Errorf("%v handshakes", counted["ok"])
	}
	for result, n := range counted {
		if result != "ok" && n > 0 {
			t.Errorf("%v handshakes are refused: %s", n, result)
		}
	}
}

// A zone is for dialling, and for nothing else: neither for the name that the server
// is asked for, nor for the one in the request.
func TestZone(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here")
	}
	w := newWorld(t)
	cert := w.CA.Issue(t, pkitest.Leaf{IPs: []string{"::1"}})
	r := recordOn(t, l, func(int) *pkitest.Cert { return cert })
	o := w.client()
	port := l.Addr().(*net.TCPAddr).Port
	o.URL = fmt.Sprintf("https://[::1%%25lo]:%d", port)
	if report := w.examine(o); !report.Good {
		t.Errorf("found %q\n%s", report.Finding, told(report))
	}
	if want := fmt.Sprintf("[::1]:%d", port); slices.ContainsFunc(r.hosts, func(host string) bool { return host != want }) || len(r.hosts) == 0 {
		t.Errorf("asked for %q, want %s", r.hosts, want)
	}
}
