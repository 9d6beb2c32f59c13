package revocation_test

import (
	"crypto/x509"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/revocation"
)

const urlA, urlB = "http://ca.example/a", "http://ca.example/b"

// A world is CAs, what they serve, and sources that are started again and again.
type world struct {
	t       *testing.T
	dir     string
	now     time.Time
	urls    []string
	files   []string
	serving map[string][]byte // by URL; what is missing is away
	issuers []*issuer         // that the configuration knows
	anchors []*issuer         // those where nil
	admit   func(revocation.Mark) error
	kept    func(revocation.Mark)
	updates record

	*revocation.Source
}

func newWorld(t *testing.T, urls ...string) *world {
	return &world{t: t, dir: filepath.Join(t.TempDir(), "crl"), now: time.Now(), urls: urls, serving: make(map[string][]byte)}
}

// start makes a source, as a start of the process does, and loads it.
func (w *world) start() {
	w.t.Helper()
	w.options(revocation.SourceOptions{Dir: w.dir})
}

func (w *world) options(opts revocation.SourceOptions) {
	w.t.Helper()
	opts.URLs, opts.Files, opts.Admit, opts.Kept, opts.OnUpdate = w.urls, w.files, w.admit, w.kept, w.updates.add
	opts.Now = func() time.Time { return w.now }
	opts.Issuers = func() []*x509.Certificate { return certs(w.issuers...) }
	if w.anchors != nil {
		opts.Anchors = func() []*x509.Certificate { return certs(w.anchors...) }
	}
	opts.Transport = &server{handler: func(rw http.ResponseWriter, r *http.Request) {
		if der := w.serving[r.URL.String()]; der != nil {
			_, _ = rw.Write(der)
			return
		}
		rw.WriteHeader(http.StatusBadGateway)
	}}
	var err error
	if w.Source, err = revocation.NewSource(opts); err != nil {
		w.t.Fatal(err)
	}
	w.load()
}

// load looks at all lists; what came of each is in updates.
func (w *world) load() { _ = w.Load(w.t.Context()) }

func (w *world) status(mode revocation.Mode, chain []*x509.Certificate) revocation.Result {
	h := w.Holdings()
	return revocation.NewSet(h.Lists, nil, revocation.SetOptions{Mode: mode, Held: h, Missing: h.Missing}).CheckChain(chain, nil, w.now)
}

func (w *world) want(when string, mode revocation.Mode, chain []*x509.Certificate, want revocation.Status) {
	w.t.Helper()
	if r := w.status(mode, chain); r.Status != want {
		w.t.Errorf("%s: %v %s, want %v", when, r.Status, r.Detail(), want)
	}
}

func (w *world) outcome(name string) (last revocation.Outcome) {
	for _, u := range w.updates.all() {
		if u.Name == name {
			last = u.Outcome
		}
	}
	return last
}

func (w *world) keptFiles() []string {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, "list-*.crl"))
	if err != nil {
		w.t.Fatal(err)
	}
	return files
}
