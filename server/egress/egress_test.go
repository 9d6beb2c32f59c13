package egress_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/sangate/sangate/server/egress"
)

func TestCheck(t *testing.T) {
	g := egress.New(egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32")}})
	for addr, want := range map[string]bool{
		"1.1.1.1": true, "2606:4700::1111": true, "10.1.2.3": true, "fd00:1::1": true, "::ffff:10.1.2.3": true, "::ffff:1.1.1.1": true,
		"10.2.0.1": false, "127.0.0.1": false, "127.8.8.8": false, "::1": false, "0.0.0.0": false, "::": false,
		"169.254.169.254": false, "::ffff:169.254.169.254": false, "::ffff:127.0.0.1": false, "fe80::1": false, "fe80::1%eth0": false,
		"192.168.1.1": false, "172.16.0.1": false, "100.64.0.1": false, "fd00:2::1": false, "224.0.0.1": false, "255.255.255.255": false,
		"ff02::1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "::127.0.0.1": false, "fec0::1": false, "240.0.0.1": false,
	} {
		err := g.Check(netip.MustParseAddr(addr))
		if (err == nil) != want {
			t.Errorf("%s: %v, want let through: %v", addr, err, want)
		}
	}
}

// What a name resolves to is looked at when it is dialled, and no redirect is
// followed.
func TestClient(t *testing.T) {
	var hits atomic.Int32
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "/", http.StatusFound)
		}
	}))
	defer target.Close()
	_, port, _ := net.SplitHostPort(target.Listener.Addr().String())
	closed := egress.New(egress.Options{}).Client(egress.Target{Timeout: 10 * time.Second})
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
		_, err := closed.Get("http://" + host + ":" + port + "/")
		refused, ok := errors.AsType[*egress.RefusedError](err)
		if !ok || !refused.Addr.IsLoopback() || !strings.Contains(err.Error(), "egress.allow") {
			t.Errorf("%s: %v", host, err)
		}
	}
	if hits.Load() != 0 {
		t.Fatalf("%d requests came through", hits.Load())
	}
	open := egress.New(egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}).Client(egress.Target{Timeout: 10 * time.Second})
	defer open.CloseIdleConnections()
	res, err := open.Get("http://localhost:" + port + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if _, err := open.Get("http://localhost:" + port + "/away"); !errors.Is(err, egress.ErrRedirect) {
		t.Errorf("a redirect: %v", err)
	}
}

// Behind a proxy names are its to resolve, addresses are looked at here.
func TestProxy(t *testing.T) {
	var asked atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.String())
		w.WriteHeader(http.StatusTeapot)
	}))
	defer proxy.Close()
	client := egress.New(egress.Options{Proxy: &httpproxy.Config{HTTPProxy: proxy.URL, NoProxy: "direct.invalid"}}).Client(egress.Target{Timeout: 10 * time.Second})
	defer client.CloseIdleConnections()
	res, err := client.Get("http://api.invalid/x") // nobody here could resolve it
	if err != nil || res.StatusCode != http.StatusTeapot || asked.Load() != "http://api.invalid/x" {
		t.Fatalf("through the proxy: %v, asked for %v", err, asked.Load())
	}
	_ = res.Body.Close()
	asked.Store("")
	for _, at := range []string{"http://169.254.169.254/", "http://10.0.0.1/", "http://[::ffff:127.0.0.1]/", "http://127.0.0.1:1/", "http://localhost:1/"} {
		_, err := client.Get(at)
		if _, ok := errors.AsType[*egress.RefusedError](err); !ok || asked.Load() != "" {
			t.Errorf("%s: %v, asked for %v", at, err, asked.Load())
		}
	}
	if _, err := client.Get("http://direct.invalid/"); err == nil || asked.Load() != "" {
		t.Errorf("around the proxy: %v, asked for %v", err, asked.Load())
	}
}
