package revocation_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/revocation"
)

// The list of an intermediate that nobody knows any more is in force after a start while the CA is away, for as long as
// the intermediate leads to a trusted CA.
//
// Holds: client/revoked-stays-revoked
func TestListOfEarlierIntermediateRestored(t *testing.T) {
	root := newIssuer(t, "root", nil, nil)
	sub := newIssuer(t, "sub", root, nil)
	before, after := newIssuer(t, "issuing 1", sub, nil), newIssuer(t, "issuing 2", sub, nil)
	lost, fine := before.chain(before.leafAt(t, 7)), before.chain(before.leafAt(t, 8))
	newFine := after.chain(after.leafAt(t, 8))
	w := newWorld(t, urlA)
	w.files = []string{filepath.Join(t.TempDir(), "file.crl")}
	w.anchors = []*issuer{root}
	w.issuers = []*issuer{root, sub, before}
	w.serving[urlA] = before.crl(t, list{this: w.now, serials: numbers(7)})
	if err := os.WriteFile(w.files[0], sub.crl(t, list{this: w.now, serials: numbers(99)}), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.want("first", revocation.Hard, lost, revocation.Revoked)
	w.issuers = []*issuer{root, after} // the next start knows neither the intermediate nor the one above it
	w.serving[urlA] = after.crl(t, list{this: w.now})
	if err := os.Remove(w.files[0]); err != nil {
		t.Fatal(err)
	}
	w.start()
	for _, serving := range []bool{true, false} {
		if !serving {
			delete(w.serving, urlA)
			w.start()
		}
		w.want("restarted", revocation.Hard, lost, revocation.Revoked)
		w.want("restarted", revocation.Soft, lost, revocation.Revoked)
		w.want("restarted", revocation.Hard, fine, revocation.Good)
		w.want("restarted", revocation.Hard, newFine, revocation.Good)
	}
	w.want("of the file that is gone", revocation.Soft, sub.chain(sub.leafAt(t, 99)), revocation.Revoked)

	// The old key goes on to sign lists.
	w.serving[urlA] = before.crl(t, list{number: 2, this: w.now, serials: numbers(7, 8)})
	w.load()
	w.want("next list of the old key", revocation.Soft, fine, revocation.Revoked)

	// The root leaves the bundle for a while.
	stranger := newIssuer(t, "stranger", nil, nil)
	delete(w.serving, urlA)
	w.issuers, w.anchors = []*issuer{stranger}, []*issuer{stranger}
	files := w.keptFiles()
	w.start()
	if len(w.Lists()) != 0 || !slices.Equal(w.keptFiles(), files) {
		t.Errorf("without the root: %d lists, files %v", len(w.Lists()), w.keptFiles())
	}
	w.issuers, w.anchors = []*issuer{root}, []*issuer{root}
	w.load()
	w.want("the root is back", revocation.Soft, lost, revocation.Revoked)
	w.want("the root is back", revocation.Soft, fine, revocation.Revoked)
}

// A place that serves another part's list stands for its own all the same.
//
// Holds: authority/split-list
func TestPartServedInPlaceOfAnother(t *testing.T) {
	ca := newIssuer(t, "ca", nil, nil)
	w := newWorld(t, urlA, urlB)
	w.issuers = []*issuer{ca}
	life := func(l list) list { l.this, l.next = w.now, w.now.Add(time.Hour); return l }
	part := func(address string, l list) []byte {
		l.extra = scoped(fullName(uri(address)))
		return ca.crl(t, life(l))
	}
	w.serving[urlA], w.serving[urlB] = part(urlA, list{}), part(urlB, list{serials: numbers(7)})
	w.start()
	lost, pointless := ca.chain(ca.leafAt(t, 7, seq(fullName(uri(urlB))))), ca.chain(ca.leafAt(t, 8))
	inB := ca.chain(ca.leafAt(t, 9, seq(fullName(uri(urlB)))))
	check := func(when string, fine revocation.Status) {
		t.Helper()
		w.want(when, revocation.Soft, lost, revocation.Revoked)
		w.want(when, revocation.Hard, inB, fine)
		w.want(when, revocation.Hard, pointless, fine)
		if held := maps.Collect(w.Held()); held[urlB] == nil || held[urlB].Points[0] != urlB || held[urlA].Points[0] != urlA {
			t.Errorf("%s: B stands for %v", when, held[urlB])
		}
	}
	check("both", revocation.Good)
	w.serving[urlB] = w.serving[urlA]
	w.load()
	check("swapped", revocation.Good)
	w.start()
	check("swapped and started", revocation.Good)
	w.now = w.now.Add(2 * time.Hour)
	w.serving[urlA] = part(urlA, list{number: 2})
	w.serving[urlB] = w.serving[urlA]
	w.load()
	check("B's has ended", revocation.Unknown)
	if got := w.outcome(urlB); got != revocation.Stale {
		t.Errorf("B: %v", got)
	}
	w.start()
	check("B's has ended, started", revocation.Unknown)

	// An older list of A is refused, though B's was served in between, and after a start, too.
	w.serving[urlA] = part(urlB, list{number: 5, serials: numbers(7)})
	w.load()
	w.serving[urlA] = part(urlA, list{number: 1})
	for _, again := range []func(){w.load, w.start} {
		again()
		if got := w.outcome(urlA); got != revocation.Refused {
			t.Errorf("an older list: %v", got)
		}
	}
	// That of a part that was never seen does not make it held.
	delete(w.serving, urlA)
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	w.serving[urlB] = part(urlA, list{number: 9})
	w.start()
	w.want("B serves A's, first start", revocation.Hard, inB, revocation.Unknown)
	w.want("B serves A's, first start", revocation.Hard, pointless, revocation.Unknown)
}

// A kept list that cannot be read leaves what it was about unknown.
func TestDamagedKeptPart(t *testing.T) {
	ca, other := newIssuer(t, "ca", nil, nil), newIssuer(t, "other", nil, nil)
	w := newWorld(t, urlA, urlB)
	w.issuers = []*issuer{ca, other}
	w.serving[urlB] = other.crl(t, list{this: w.now}) // B stands for something that is held, too
	w.start()
	w.serving[urlA] = ca.crl(t, list{this: w.now, extra: scoped(fullName(uri(urlA)))})
	w.serving[urlB] = ca.crl(t, list{this: w.now.Add(-time.Second), extra: scoped(fullName(uri(urlB)))})
	part := w.serving[urlB]
	w.start()
	w.want("both parts", revocation.Hard, ca.chain(ca.leafAt(t, 8)), revocation.Good)
	before := w.keptFiles()
	w.serving[urlB] = w.serving[urlA]
	for _, file := range before {
		data, err := os.ReadFile(file)
		if err == nil && string(data) == string(part) {
			err = os.WriteFile(file, data[:40], 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	w.want("B's part is damaged", revocation.Hard, ca.chain(ca.leafAt(t, 8)), revocation.Unknown)
	if len(w.Missing()) != 0 {
		t.Errorf("missing %v", w.Missing())
	}
}

// Two places with the same list, one of them late, and a CA that changes the scope of its list.
func TestMirrorsAndNewScope(t *testing.T) {
	ca := newIssuer(t, "ca", nil, nil)
	w := newWorld(t, urlA, urlB)
	w.issuers = []*issuer{ca}
	lost, fine := ca.chain(ca.leafAt(t, 7)), ca.chain(ca.leafAt(t, 8))
	old := ca.crl(t, list{number: 1, this: w.now, next: w.now.Add(time.Hour)})
	w.serving[urlB] = old
	w.serving[urlA] = ca.crl(t, list{number: 2, this: w.now.Add(time.Second), next: w.now.Add(time.Hour), serials: numbers(7)})
	w.load2()
	w.want("late mirror", revocation.Hard, lost, revocation.Revoked)
	w.want("late mirror", revocation.Hard, fine, revocation.Good)
	if len(w.Missing()) != 0 {
		t.Errorf("missing %v", w.Missing())
	}
	w.serving[urlB] = w.serving[urlA]
	w.load()
	if got := w.outcome(urlB); got != revocation.Unchanged {
		t.Errorf("the mirror has caught up: %v", got)
	}
	for i, first := range []string{urlA, urlB, urlA} { // who has the new scope before the other
		w.now = w.now.Add(25 * time.Hour)
		w.serving[first] = ca.crl(t, list{number: 3, this: w.now, serials: numbers(7),
			extra: scoped(fullName(uri(fmt.Sprintf("http://new/%d", i))))})
		w.load()
		w.serving[urlA], w.serving[urlB] = w.serving[first], w.serving[first]
		for _, again := range []func(){w.load, w.start} {
			again()
			w.want("new scope", revocation.Hard, lost, revocation.Revoked)
			w.want("new scope", revocation.Hard, fine, revocation.Good)
		}
	}
}

// load2 starts with A before B.
func (w *world) load2() {
	urls := w.urls
	w.urls = urls[:1]
	w.start()
	w.urls = urls
	w.start()
}
