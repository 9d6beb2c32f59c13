package revocation_test

import (
	"crypto/x509"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/revocation"
)

// A made is a list that a CA of the history has signed.
type made struct {
	ca, scope int
	number    int64
	this      time.Time
	serials   []int64
	der       []byte
}

// TestHistories draws histories: lists of two intermediates and three scopes are issued, served at either of two addresses,
// replayed and withheld, intermediates get unknown and known, and the process restarts. Whoever is on the newest list of
// some issuer and scope that was ever in force is revoked, and nobody else.
//
// Holds: client/revoked-stays-revoked
func TestHistories(t *testing.T) {
	root := newIssuer(t, "root", nil, nil)
	cas := []*issuer{newIssuer(t, "one", root, nil), newIssuer(t, "two", root, nil)}
	points := []string{"", urlA, urlB}
	const serials, steps = 6, 120
	leaves := make([][]*x509.Certificate, len(cas))
	for i, ca := range cas {
		for n := range int64(serials) {
			leaves[i] = append(leaves[i], ca.leafAt(t, 10+n))
		}
	}
	seeds := 6
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 19))
			w := newWorld(t, urlA, urlB)
			w.anchors = []*issuer{root}
			w.issuers = slices.Concat(w.anchors, cas)
			var all []made                  // that were ever signed
			served := make(map[string]made) // by URL
			newest := make(map[[2]int]made) // the model: in force, by issuer and scope
			known := map[int]bool{0: true, 1: true}
			load := func(again func()) {
				// Either address may be looked at first; both look at the other's lists, so two rounds settle it.
				again()
				w.load()
				for _, m := range served {
					key := [2]int{m.ca, m.scope}
					held, found := newest[key]
					if !known[m.ca] && !slices.ContainsFunc(slices.Collect(maps.Keys(newest)), func(k [2]int) bool { return k[0] == m.ca }) {
						continue // nobody knows who signed it
					}
					if !found || m.number >= held.number && !m.this.Before(held.this) {
						newest[key] = m
					}
				}
			}
			load(w.start)
			for step := range steps {
				w.now = w.now.Add(time.Duration(r.IntN(7200)) * time.Second)
				url := w.urls[r.IntN(2)]
				again := w.load
				switch r.IntN(8) {
				case 0, 1, 2:
					m := made{ca: r.IntN(2), scope: r.IntN(3), number: int64(len(all) + 1), this: w.now.Truncate(time.Second)}
					l := list{number: m.number, this: m.this, next: m.this.Add(time.Duration(1+r.IntN(48)) * time.Hour)}
					for n := range int64(serials) {
						if r.IntN(3) == 0 {
							m.serials = append(m.serials, 10+n)
						}
					}
					if l.serials = numbers(m.serials...); m.scope > 0 {
						l.extra = scoped(fullName(uri(points[m.scope])))
					}
					m.der = cas[m.ca].crl(t, l)
					all = append(all, m)
					served[url] = m
				case 3:
					if len(all) > 0 {
						served[url] = all[r.IntN(len(all))] // replayed, or served in another's place
					}
				case 4:
					delete(served, url)
				case 5:
					again = w.start
				case 6:
					ca := r.IntN(2)
					known[ca] = !known[ca]
					w.issuers = slices.Clone(w.anchors)
					for i, ca := range cas {
						if known[i] {
							w.issuers = append(w.issuers, ca)
						}
					}
				case 7:
					if r.IntN(4) == 0 { // somebody tears a file that is not a list
						_ = os.WriteFile(filepath.Join(w.dir, fmt.Sprintf("junk-%d.crl", step)), []byte("junk"), 0o600)
					}
					again = w.start
				}
				clear(w.serving)
				for url, m := range served {
					w.serving[url] = m.der
				}
				load(again)
				w.compare(step, cas, leaves, newest)
			}
		})
	}
}

// compare asks for each serial number of each CA, and compares with the model.
func (w *world) compare(step int, cas []*issuer, leaves [][]*x509.Certificate, newest map[[2]int]made) {
	w.t.Helper()
	for i, ca := range cas {
		for n := range int64(len(leaves[i])) {
			want := false
			for key, m := range newest {
				want = want || key[0] == i && slices.Contains(m.serials, 10+n)
			}
			cert := leaves[i][n]
			r := w.status(revocation.Soft, ca.chain(cert))
			if got := r.Status == revocation.Revoked; got != want {
				w.t.Fatalf("step %d: certificate %d of CA %d: %v %s, want revoked %v", step, 10+n, i, r.Status, r.Detail(), want)
			}
		}
	}
}
