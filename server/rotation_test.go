package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// pairRotations is shared out among the ways in [ways], each with file events
// and all of them without.
var pairRotations = flag.Int("rotations", rounds(10_000), "how often TestPairRotations and TestPairRotationsWithoutEvents replace the gate's certificate, together")

// A way replaces the gate's pair, step by step. With the last step, and not
// before, the new one is whole.
type way struct {
	name  string
	steps func(d *pairFiles, next *pkitest.Cert) []func()
}

var ways = []way{
	{"key first", func(d *pairFiles, next *pkitest.Cert) []func() {
		return []func(){d.put("server.key", next.KeyPEM(d.t)), d.put("server.crt", next.CertPEM())}
	}},
	{"certificate first", func(d *pairFiles, next *pkitest.Cert) []func() {
		return []func(){d.put("server.crt", next.CertPEM()), d.put("server.key", next.KeyPEM(d.t))}
	}},
	{"torn", func(d *pairFiles, next *pkitest.Cert) []func() {
		crt, key := next.CertPEM(), next.KeyPEM(d.t)
		// Without its last line break alone, a file is whole.
		cut := rand.IntN(len(crt) - 1)
		if cut%2 == 0 { // the leaf is whole, its issuer is missing
			cut = len(crt) - len(d.issuer.PEM())
		}
		return []func(){d.put("server.key", key[:rand.IntN(len(key)-1)]), d.put("server.crt", crt[:rand.IntN(len(crt)-1)]),
			d.put("server.key", key), d.put("server.crt", crt[:cut]), d.put("server.crt", crt)}
	}},
	{"mismatched, then mended", func(d *pairFiles, next *pkitest.Cert) []func() {
		return []func(){d.put("server.crt", next.CertPEM()), d.put("server.key", d.stray), d.put("server.key", next.KeyPEM(d.t))}
	}},
	{"renamed over", func(d *pairFiles, next *pkitest.Cert) []func() {
		return []func(){func() { d.g.Write("server.key", next.KeyPEM(d.t)) }, func() { d.g.Write("server.crt", next.CertPEM()) }}
	}},
	{"..data swapped", func(d *pairFiles, next *pkitest.Cert) []func() {
		old := fmt.Sprint("live/..", d.version)
		d.version++
		dir := fmt.Sprint("live/..", d.version)
		return []func(){func() { d.must(os.Mkdir(filepath.Join(d.g.Dir, dir), 0o700)) },
			d.put(dir+"/server.crt", next.CertPEM()), d.put(dir+"/server.key", next.KeyPEM(d.t)),
			func() {
				d.link(filepath.Base(dir), "live/..data")
				d.must(os.RemoveAll(filepath.Join(d.g.Dir, old)))
			}}
	}},
}

// pairFiles is the gate's pair on disk.
type pairFiles struct {
	t       *testing.T
	g       *servertest.Gate
	issuer  *pkitest.CA // below the root, which is all that clients know
	stray   []byte      // a key of no certificate
	version int         // that ..data leads to

	mu    sync.Mutex
	whole map[string]bool // by serial number: the key has been beside it, and its issuer
	seen  map[string]bool // by a client
	last  string          // seen on a new connection
}

func newPairFiles(t *testing.T, opts servertest.Options) *pairFiles {
	t.Helper()
	g := servertest.Start(t, opts)
	d := &pairFiles{t: t, g: g, issuer: g.CA.Intermediate(t, "Test intermediate", nil), whole: make(map[string]bool), seen: make(map[string]bool)}
	d.stray = g.Cert("acme").KeyPEM(t)
	first := d.issue()
	d.note(first)
	g.Change("certificate", func() {
		g.Write("server.crt", first.CertPEM())
		g.Write("server.key", first.KeyPEM(t))
	})
	d.layOut(first)
	return d
}

// layOut makes the folder of a secret that Kubernetes mounts, for the way that
// needs it, and leaves server.crt and server.key as they are.
func (d *pairFiles) layOut(c *pkitest.Cert) {
	d.must(os.MkdirAll(filepath.Join(d.g.Dir, "live/..0"), 0o700))
	d.put("live/..0/server.crt", c.CertPEM())()
	d.put("live/..0/server.key", c.KeyPEM(d.t))()
	d.link("..0", "live/..data")
	d.link("..data/server.crt", "live/server.crt")
	d.link("..data/server.key", "live/server.key")
}

func (d *pairFiles) issue() *pkitest.Cert {
	return d.issuer.Issue(d.t, pkitest.Leaf{DNS: []string{"localhost"}, IPs: []string{"127.0.0.1"}})
}

func (d *pairFiles) note(c *pkitest.Cert) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.whole[c.Leaf.SerialNumber.String()] = true
}

// put writes in place, as `step` does: the file is empty for a moment.
func (d *pairFiles) put(name string, data []byte) func() {
	return func() { d.must(os.WriteFile(filepath.Join(d.g.Dir, name), data, 0o600)) }
}

func (d *pairFiles) link(target, name string) {
	name = filepath.Join(d.g.Dir, name)
	d.must(os.Symlink(target, name+".new"))
	d.must(os.Rename(name+".new", name))
}

func (d *pairFiles) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// shaken is each client's last word in a handshake.
func (d *pairFiles) shaken(state tls.ConnectionState) error {
	serial := state.PeerCertificates[0].SerialNumber.String()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.whole[serial] {
		return fmt.Errorf("certificate %s was never whole on disk", serial)
	}
	d.seen[serial], d.last = true, serial
	return nil
}

// replace does it n times in a row and waits until the last one is shown. Where
// told to, the gate is made to look in between, too, however unfinished what it
// finds is.
func (d *pairFiles) replace(w way, n int, hup bool) {
	d.t.Helper()
	var next *pkitest.Cert
	for range n {
		next = d.issue()
		steps := w.steps(d, next)
		for i, step := range steps {
			if i == len(steps)-1 {
				d.note(next)
			}
			step()
			if hup && rand.IntN(2) == 0 {
				d.g.Server.Reload()
				time.Sleep(time.Millisecond) // for the look to fall on this step
			}
		}
	}
	d.shows(next)
}

// shows waits until clients see that pair.
func (d *pairFiles) shows(c *pkitest.Cert) {
	d.t.Helper()
	if !servertest.WaitFor(func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.last == c.Leaf.SerialNumber.String() || d.t.Failed()
	}, 10*time.Second) {
		d.t.Fatal("the last pair is not in force")
	}
}

// A rotationLoad is clients that call all the time, two over a connection they
// keep and two over a new one each time.
type rotationLoad struct{ handshakes, calls, dialsKept atomic.Int64 }

// start has the clients call until stop is called. The first failure of each
// fails the test.
func (l *rotationLoad) start(d *pairFiles) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	for i := range 4 {
		keep, http2 := i%2 == 0, i/2 == 0
		config := d.g.TLS(d.g.Cert("acme"))
		config.VerifyConnection = func(state tls.ConnectionState) error {
			l.handshakes.Add(1)
			return d.shaken(state)
		}
		tr := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: http2, DisableKeepAlives: !keep}
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if keep {
				l.dialsKept.Add(1)
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
		var via http.RoundTripper = tr
		if keep && !http2 {
			via = dialOne(d.t, d.g, config)
			l.dialsKept.Add(1)
		}
		clients.Go(func() {
			defer tr.CloseIdleConnections()
			for ctx.Err() == nil && !d.t.Failed() {
				if err := l.call(d.g, &http.Client{Transport: via, Timeout: 30 * time.Second}); err != nil {
					d.t.Errorf("client %d, after %d calls: %v", i, l.calls.Load(), err)
					return
				}
			}
		})
	}
	return func() { cancel(); clients.Wait() }
}

func (l *rotationLoad) call(g *servertest.Gate, c *http.Client) error {
	req, err := http.NewRequest(http.MethodPost, g.URL+"/tool/whoami/call", strings.NewReader("{}"))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+g.Key("acme"))
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s", res.Status, body)
	}
	l.calls.Add(1)
	return err
}

// rotatePairs replaces the pair n times, by each way in turn and in bursts of
// that size, and tells how often the gate took one up.
func rotatePairs(t *testing.T, d *pairFiles, n, burst int) {
	t.Helper()
	var load rotationLoad
	before := d.g.By(handshakes, "result")
	stop := load.start(d)
	defer stop()
	for i, w := range ways {
		if w.name == "..data swapped" {
			d.g.Configure(func(yaml string) string {
				return replaceOnce(t, yaml, "cert: server.crt, key: server.key", "cert: live/server.crt, key: live/server.key")
			})
		}
		reloads := d.g.By("sangate_certificate_reloads_total", "result")
		share := n/len(ways) + min(1, max(0, n%len(ways)-i))
		for bursts, left := 0, share; left > 0 && !t.Failed(); bursts++ {
			d.replace(w, min(burst, left), bursts%2 == 1)
			left -= min(burst, left)
		}
		after := d.g.By("sangate_certificate_reloads_total", "result")
		t.Logf("%s: %d rotations, %v taken up, %v refused as not whole", w.name, share, after["ok"]-reloads["ok"], after["error"]-reloads["error"])
	}
	stop()
	for result, count := range d.g.By(handshakes, "result") {
		if result != "ok" && count != before[result] {
			t.Errorf("%v handshakes refused by the gate: %s", count-before[result], result)
		}
	}
	if dials := load.dialsKept.Load(); dials != 2 {
		t.Errorf("%d connections of two clients that keep theirs", dials)
	}
	t.Logf("%d rotations, %d certificates seen by clients, %d handshakes, %d calls, none failed: %v",
		n, len(d.seen), load.handshakes.Load(), load.calls.Load(), !t.Failed())
}

// However the pair is replaced while clients call, no handshake and no call
// fails, nothing is shown that was not whole, and what was written last is in
// force.
//
// Holds: operator/torn-file
func TestPairRotations(t *testing.T) {
	n := *pairRotations
	rotatePairs(t, newPairFiles(t, servertest.Options{}), n-n/7, 40)
}
