package revocation_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/revocation"
)

// Lists of issuers that have ended are forgotten, on disk too; a clock that jumps ahead and back forgets nothing.
func TestListForgottenWithItsIssuer(t *testing.T) {
	root := newIssuer(t, "root", nil, nil)
	now := time.Now()
	short := newIssuer(t, "short", root, func(c *x509.Certificate) { c.NotAfter = now.Add(time.Hour) })
	w := newWorld(t, urlA, urlB)
	w.issuers = []*issuer{root, short}
	w.serving[urlA] = short.crl(t, list{this: w.now, serials: numbers(7)})
	w.serving[urlB] = root.crl(t, list{this: w.now})
	w.start()
	delete(w.serving, urlA)
	w.now = now.AddDate(1, 0, 0)
	w.load()
	w.now = now
	w.load()
	w.want("the clock is back", revocation.Soft, short.chain(short.leafAt(t, 7)), revocation.Revoked)
	if len(w.keptFiles()) != 2 {
		t.Errorf("files %v", w.keptFiles())
	}
	w.issuers = []*issuer{root}
	w.now = now.Add(40 * 24 * time.Hour)
	w.serving[urlB] = root.crl(t, list{number: 2, this: w.now})
	w.load()
	w.load()
	if len(w.Lists()) != 1 || len(w.keptFiles()) != 1 {
		t.Errorf("%d lists, files %v", len(w.Lists()), w.keptFiles())
	}
	w.start()
	if len(w.Lists()) != 1 || !slices.Equal(w.Missing(), []string{urlA}) {
		t.Errorf("started: %d lists, missing %v", len(w.Lists()), w.Missing())
	}
}

// One place cannot bring lists without end, and none that is held gives way to a new one.
func TestListsOfOnePlaceBounded(t *testing.T) {
	root := newIssuer(t, "root", nil, nil)
	w := newWorld(t, urlA, urlB)
	w.serving[urlB] = root.crl(t, list{this: w.now})
	w.issuers = []*issuer{root}
	const most = 64
	for i := range most + 2 {
		w.serving[urlA] = root.crl(t, list{this: w.now.Add(time.Duration(i) * time.Second / most),
			serials: numbers(int64(100 + i)), extra: scoped(fullName(uri(fmt.Sprintf("http://ca/%d", i))))})
		if w.Source == nil {
			w.start()
		}
		w.load()
		got, want := w.outcome(urlA), revocation.Loaded
		if i == 0 {
			want = revocation.Unchanged // looked at twice
		}
		if i < most && got != want {
			t.Fatalf("list %d: %v, want %v", i, got, want)
		} else if i >= most && got != revocation.Refused {
			t.Errorf("list %d: %v", i, got)
		}
	}
	w.want("the first", revocation.Soft, root.chain(root.leafAt(t, 100)), revocation.Revoked)
	w.want("the last with room", revocation.Soft, root.chain(root.leafAt(t, 100+most-1)), revocation.Revoked)
	w.serving[urlA] = root.crl(t, list{number: 2, this: w.now.Add(time.Minute), serials: numbers(500),
		extra: scoped(fullName(uri("http://ca/0")))})
	w.load()
	w.want("the next of one that is held", revocation.Soft, root.chain(root.leafAt(t, 500)), revocation.Revoked)
}

// A kept list that somebody put back counts for those on it, and for nobody else.
func TestKeptListRolledBack(t *testing.T) {
	ca := newIssuer(t, "ca", nil, nil)
	w := newWorld(t, urlA)
	w.issuers = []*issuer{ca}
	marks := make(map[[64]byte]revocation.Mark) // elsewhere
	w.admit = func(m revocation.Mark) error {
		key := [64]byte(append(m.Issuer[:], m.Scope[:]...))
		last := marks[key]
		if new(big.Int).SetBytes(m.Number).Cmp(new(big.Int).SetBytes(last.Number)) < 0 || m.ThisUpdate.Before(last.ThisUpdate) {
			return errors.New("older than the mark")
		}
		return nil
	}
	w.kept = func(m revocation.Mark) {
		if files := w.keptFiles(); len(files) != 1 {
			t.Errorf("the mark is raised before the list is on disk: %v", files)
		}
		if w.admit(m) != nil {
			t.Errorf("the mark is set back: %v", m)
		}
		marks[[64]byte(append(m.Issuer[:], m.Scope[:]...))] = m
	}
	w.serving[urlA] = ca.crl(t, list{number: 1, this: w.now, serials: numbers(6)})
	w.start()
	old, err := os.ReadFile(w.keptFiles()[0])
	if err != nil {
		t.Fatal(err)
	}
	w.serving[urlA] = ca.crl(t, list{number: 2, this: w.now, serials: numbers(7)})
	w.load()
	if err := os.WriteFile(w.keptFiles()[0], old, 0o600); err != nil {
		t.Fatal(err)
	}
	served := w.serving[urlA]
	for when, serving := range map[string][]byte{"away": nil, "replayed": old} {
		w.serving[urlA] = serving
		w.updates = record{}
		w.start()
		w.want(when, revocation.Soft, ca.chain(ca.leafAt(t, 6)), revocation.Revoked)
		w.want(when, revocation.Hard, ca.chain(ca.leafAt(t, 8)), revocation.Unknown)
		if got := w.updates.all()[0]; got.Outcome != revocation.Refused || got.Err == nil {
			t.Errorf("%s: %+v", when, got)
		}
	}
	w.serving[urlA] = served
	w.load()
	w.want("served again", revocation.Hard, ca.chain(ca.leafAt(t, 8)), revocation.Good)
	w.want("served again", revocation.Hard, ca.chain(ca.leafAt(t, 7)), revocation.Revoked)
}

// Lists that an earlier version kept by their URL are taken up and kept by their issuer, at once or when that is known.
func TestListsKeptByURLMigrated(t *testing.T) {
	root := newIssuer(t, "root", nil, nil)
	middle := newIssuer(t, "middle", root, nil)
	w := newWorld(t, urlA)
	w.issuers = []*issuer{root}
	if err := os.Mkdir(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	earlier := func(ca *issuer) string {
		key := sha256.Sum256(append(slices.Clone(ca.cert.RawSubject), ca.cert.RawSubjectPublicKeyInfo...))
		return filepath.Join(w.dir, fmt.Sprintf("%x-%x.crl", sha256.Sum256([]byte(urlA)), key[:8]))
	}
	for _, ca := range []*issuer{root, middle} {
		if err := os.WriteFile(earlier(ca), ca.crl(t, list{this: w.now, serials: numbers(7)}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.options(revocation.SourceOptions{Dir: w.dir, ReadOnly: true})
	w.want("read only", revocation.Hard, root.chain(root.leafAt(t, 7)), revocation.Revoked)
	if files, _ := os.ReadDir(w.dir); len(files) != 2 {
		t.Errorf("read only: files %v", files)
	}
	w.start()
	w.want("known issuer", revocation.Hard, root.chain(root.leafAt(t, 7)), revocation.Revoked)
	w.want("known issuer", revocation.Hard, root.chain(root.leafAt(t, 8)), revocation.Good)
	if _, err := os.Stat(earlier(root)); err == nil || len(w.keptFiles()) != 1 {
		t.Errorf("the earlier file: %v, files %v", err, w.keptFiles())
	}
	w.issuers = []*issuer{root, middle} // a client brought it
	w.load()
	w.want("issuer known later", revocation.Hard, middle.chain(middle.leafAt(t, 7)), revocation.Revoked)
	w.issuers = []*issuer{root}
	w.start()
	w.want("started again", revocation.Hard, middle.chain(middle.leafAt(t, 7)), revocation.Revoked)
	w.want("started again", revocation.Hard, root.chain(root.leafAt(t, 7)), revocation.Revoked)
	if left, _ := filepath.Glob(filepath.Join(w.dir, "[0-9a-f]*.crl")); len(left) != 0 || len(w.keptFiles()) != 2 {
		t.Errorf("left %v, files %v", left, w.keptFiles())
	}
}

// A list that is older than one which was in force elsewhere counts for those on it if there is nothing newer.
func TestOlderListServedFirst(t *testing.T) {
	ca := newIssuer(t, "ca", nil, nil)
	w := newWorld(t, urlA)
	w.issuers = []*issuer{ca}
	refuse := true
	w.admit = func(revocation.Mark) error {
		if refuse {
			return errors.New("older than the mark")
		}
		return nil
	}
	w.serving[urlA] = ca.crl(t, list{number: 1, this: w.now, serials: numbers(7)})
	for _, again := range []func(){w.start, w.load, w.start} {
		again()
		if got := w.outcome(urlA); got != revocation.Refused {
			t.Errorf("outcome %v", got)
		}
		w.want("older", revocation.Soft, ca.chain(ca.leafAt(t, 7)), revocation.Revoked)
		w.want("older", revocation.Hard, ca.chain(ca.leafAt(t, 8)), revocation.Unknown)
	}
	refuse = false
	w.load()
	w.want("admitted", revocation.Hard, ca.chain(ca.leafAt(t, 8)), revocation.Good)
}

// A clock that is behind at a start does not have kept lists forgotten.
func TestClockBehindAtStart(t *testing.T) {
	root := newIssuer(t, "root", nil, nil)
	middle := newIssuer(t, "middle", root, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(-time.Hour) })
	w := newWorld(t, urlA)
	w.issuers = []*issuer{root, middle}
	w.serving[urlA] = middle.crl(t, list{this: w.now, serials: numbers(7)})
	w.start()
	w.issuers = []*issuer{root}
	w.now = w.now.AddDate(-1, 0, 0)
	delete(w.serving, urlA)
	w.start()
	w.want("behind", revocation.Soft, middle.chain(middle.leafAt(t, 7)), revocation.Revoked)
	w.now = w.now.AddDate(1, 0, 0)
	w.want("right", revocation.Hard, middle.chain(middle.leafAt(t, 8)), revocation.Good)
}

// A start that is cut short goes on with the kept lists at the next look.
func TestRestoreEndsWithContext(t *testing.T) {
	ca := newIssuer(t, "ca", nil, nil)
	w := newWorld(t, urlA)
	w.issuers = []*issuer{ca}
	w.serving[urlA] = ca.crl(t, list{this: w.now, serials: numbers(7)})
	w.start()
	delete(w.serving, urlA)
	down := &server{handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }}
	src, err := revocation.NewSource(revocation.SourceOptions{URLs: w.urls, Dir: w.dir, Now: func() time.Time { return w.now },
		Issuers: func() []*x509.Certificate { return certs(ca) }, Transport: down})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _ = src.Load(ended); len(src.Lists()) != 0 {
		t.Error("lists were read after the end")
	}
	if _ = src.Load(t.Context()); len(src.Lists()) != 1 {
		t.Error("the kept list was not read at the next look")
	}
}

// What could not be kept stays in force when another configuration names other lists.
func TestListsTakenOver(t *testing.T) {
	ca, other := newIssuer(t, "ca", nil, nil), newIssuer(t, "other", nil, nil)
	w := newWorld(t, urlA)
	w.issuers = []*issuer{ca, other}
	w.serving[urlA] = ca.crl(t, list{this: w.now, serials: numbers(7)})
	w.options(revocation.SourceOptions{})
	delete(w.serving, urlA)
	w.urls = []string{urlA, urlB}
	w.serving[urlB] = other.crl(t, list{this: w.now})
	w.options(revocation.SourceOptions{Before: w.Source})
	w.want("same URL", revocation.Hard, ca.chain(ca.leafAt(t, 7)), revocation.Revoked)
	w.want("same URL", revocation.Hard, ca.chain(ca.leafAt(t, 8)), revocation.Good)
	w.urls = []string{urlB}
	w.options(revocation.SourceOptions{Before: w.Source})
	w.want("URL not configured any more", revocation.Soft, ca.chain(ca.leafAt(t, 7)), revocation.Revoked)
}

// A list that could not be written to disk is written at the next look.
func TestListKeptOnceDiskIsBack(t *testing.T) {
	ca := newIssuer(t, "ca", nil, nil)
	w := newWorld(t, urlA)
	w.issuers = []*issuer{ca}
	inTheWay := filepath.Dir(w.dir)
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	marked := 0
	w.kept = func(revocation.Mark) { marked++ }
	w.serving[urlA] = ca.crl(t, list{this: w.now, serials: numbers(7)})
	w.start()
	w.want("no disk", revocation.Hard, ca.chain(ca.leafAt(t, 7)), revocation.Revoked)
	if marked != 0 {
		t.Error("the mark of a list that is not on disk was raised")
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	w.load()
	delete(w.serving, urlA)
	w.start()
	w.want("restarted", revocation.Hard, ca.chain(ca.leafAt(t, 7)), revocation.Revoked)
	if marked == 0 {
		t.Error("the mark was never raised")
	}
}
