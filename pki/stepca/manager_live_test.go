package stepca_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smallstep/certificates/api"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/pki/stepca"
	"github.com/sangate/sangate/pki/stepca/steptest"
)

// A diary collects a manager's events.
type diary struct {
	mu     sync.Mutex
	events []stepca.Event
}

func (d *diary) note(e stepca.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, e)
}

// count counts the events of op, done or failed.
func (d *diary) count(op stepca.Op, ok bool) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events {
		if e.Op == op && (e.Err == nil) == ok {
			n++
		}
	}
	return n
}

// manage runs a manager until the test ends, or stop is called.
func manage(t testing.TB, c *stepca.Client, opts stepca.ManagerOptions) (m *stepca.Manager, d *diary, stop func()) {
	t.Helper()
	d = new(diary)
	opts.OnEvent = d.note
	m, err := stepca.NewManager(c, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return m, d, stop
}

// A real step-ca that is down at the start, up for some renewals, down past
// three of them, and up again.
func TestManagerLive(t *testing.T) {
	t.Parallel()
	ca := steptest.Start(t, steptest.Options{Default: 6 * time.Second, Min: time.Second})
	opts := stepca.ManagerOptions{
		Dir:     t.TempDir(),
		Request: stepca.Request{Subject: "gate", SANs: sans, Key: stepca.ECP384},
	}
	opts.Enroller = stepca.Password{Client: realClient(t, ca), Provisioner: steptest.Provisioner, File: ca.PasswordFile()}
	ca.Stop()
	m, d, stop := manage(t, realClient(t, ca), opts)
	within(t, "two failures told", func() bool { return d.count(stepca.OpEnrol, false) >= 2 })
	if m.Certificate() != nil || d.count(stepca.OpRoots, false) == 0 {
		t.Error("a certificate out of nothing, or the roots' failure is not told")
	}
	ca.Start()
	<-m.Ready()
	within(t, "two renewals", func() bool { return d.count(stepca.OpRekey, true) >= 2 })
	if d.count(stepca.OpEnrol, true) != 1 || len(m.Roots()) != 1 {
		t.Errorf("enrolled %d times, %d roots", d.count(stepca.OpEnrol, true), len(m.Roots()))
	}
	ca.Stop()
	last := m.Certificate()
	within(t, "three times the time to renewal", func() bool { return time.Now().After(last.Leaf.NotAfter.Add(6 * time.Second)) })
	if m.Certificate() != nil {
		t.Error("an ended certificate is shown")
	}
	ca.Start()
	within(t, "a certificate again", func() bool { return m.Certificate() != nil })
	// This CA does not renew after expiry.
	within(t, "enrolled again", func() bool { return d.count(stepca.OpEnrol, true) == 2 })
	stop()
	ca.Stop()
	again, _, _ := manage(t, realClient(t, ca), opts)
	if crt := again.Certificate(); crt == nil && time.Now().Before(m.Certificate().Leaf.NotAfter) {
		t.Error("with the authority down, the stored certificate is not used at once")
	}
}

// A root rotation with overlap, and a restart after it: the fingerprint that is
// configured is the old root's all the time.
func TestManagerRootRotation(t *testing.T) {
	t.Parallel()
	ca := steptest.Start(t, steptest.Options{Default: 10 * time.Second, Min: time.Second})
	opts := stepca.ManagerOptions{Dir: t.TempDir(), RootsEvery: 200 * time.Millisecond, Request: stepca.Request{SANs: sans, Subject: "gate"}}
	opts.Enroller = stepca.NewOneTimeToken(realClient(t, ca), write(t, "ott", ca.Token("gate", sans...)))
	m, _, stop := manage(t, realClient(t, ca), opts)
	<-m.Ready()
	notices := make(chan struct{}, 1000)
	m.Notify(func() { notices <- struct{}{} })
	ca.AddRoot()
	within(t, "the second root", func() bool { return len(m.Roots()) == 2 })
	<-notices
	ca.SwitchRoot()
	next := m.Roots()[1]
	within(t, "a certificate under the second root", func() bool { return under(m, next) })
	stop()

	ca.DropRoot()
	if err := realClient(t, ca).Health(t.Context()); !errors.Is(err, stepca.ErrFingerprint) {
		t.Errorf("a client that was not there: %v, want ErrFingerprint", err)
	}
	m, d, _ := manage(t, realClient(t, ca), opts)
	within(t, "a renewal after the restart", func() bool { return d.count(stepca.OpRekey, true) >= 1 })
	if n := d.count(stepca.OpEnrol, false); n != 0 || !under(m, next) {
		t.Errorf("enrolled %d times, or under another root", n)
	}
}

func under(m *stepca.Manager, root *x509.Certificate) bool {
	crt := m.Certificate()
	if crt == nil {
		return false
	}
	inter, err := x509.ParseCertificate(crt.Certificate[1])
	return err == nil && inter.CheckSignatureFrom(root) == nil
}

// An authority that answers with another key's certificate, and names an
// ally's root: nothing of it is taken but the ally's root, and that for peers
// alone.
func TestManagerOddAuthority(t *testing.T) {
	ca, ally := pkitest.NewCA(t, "ours"), pkitest.NewCA(t, "ally")
	c := fake(t, ca, func(w http.ResponseWriter, r *http.Request) {
		answer := func(certs ...*x509.Certificate) (all []api.Certificate) {
			for _, crt := range certs {
				all = append(all, api.NewCertificate(crt))
			}
			return all
		}
		switch {
		case strings.HasSuffix(r.URL.Path, "/roots"):
			json.NewEncoder(w).Encode(api.RootsResponse{Certificates: answer(ca.Cert)})
		case strings.HasSuffix(r.URL.Path, "/federation"):
			json.NewEncoder(w).Encode(api.FederationResponse{Certificates: answer(ca.Cert, ally.Cert)})
		default:
			other := ca.Issue(t, pkitest.Leaf{DNS: []string{"gate.internal"}}).Leaf
			json.NewEncoder(w).Encode(api.SignResponse{CertChainPEM: answer(other)})
		}
	}, stepca.Options{})
	opts := stepca.ManagerOptions{Dir: t.TempDir(), Federation: true}
	kept := newPair(t, ca, pkitest.Leaf{DNS: []string{"gate.internal"}, NotBefore: time.Now().Add(-50 * time.Minute), NotAfter: time.Now().Add(10 * time.Minute)})
	if err := (stepca.Folder{Dir: opts.Dir}).Save(kept); err != nil {
		t.Fatal(err)
	}
	m, d, stop := manage(t, c, opts)
	within(t, "refused certificates", func() bool { return d.count(stepca.OpRekey, false) >= 2 })
	within(t, "the ally's root", func() bool { return len(m.Roots()) == 2 })
	if !bytes.Equal(m.Certificate().Leaf.Raw, kept.Leaf().Raw) {
		t.Error("another certificate is shown")
	}
	stop()
	for _, e := range d.events {
		if !errors.Is(e.Err, stepca.ErrVet) {
			t.Errorf("event %+v", e)
		}
	}
	if anchors, err := c.Anchors(t.Context()); err != nil || len(anchors) != 1 {
		t.Errorf("%d anchors: the authority may prove itself by its ally's", len(anchors))
	}
	again, err := stepca.NewManager(c, opts)
	if err != nil || len(again.Roots()) != 2 {
		t.Errorf("roots after a restart: %v", err)
	}
}
