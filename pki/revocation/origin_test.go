package revocation_test

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/pki/revocation"
)

// A bad answer is refused over a real listener, too.
func TestSourceBadAnswers(t *testing.T) {
	ca := newIssuer(t, "ours", nil, nil)
	good := ca.crl(t, list{})
	mux := http.NewServeMux()
	mux.HandleFunc("/good", serve(func() []byte { return good }))
	mux.Handle("/redirect", http.RedirectHandler("/good", http.StatusFound))
	mux.HandleFunc("/304", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	mux.HandleFunc("/encoded", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(good)
	})
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(revocation.MaxCRLBytes+1))
		w.Write(good)
	})
	mux.HandleFunc("/head", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", strings.Repeat("a", 2*revocation.MaxHeaderBytes))
		w.Write(good)
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for chunk := make([]byte, 1<<20); r.Context().Err() == nil; {
			w.Write(chunk)
		}
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(good)))
		w.Write(good[:50])
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for path, words := range map[string]string{
		"/good": "", "/redirect": "302: redirects", "/304": "304", "/encoded": "content encoding", "/long": "larger than",
		"/head":    "headers exceeded",
		"/endless": "larger than", "/cut": "unexpected EOF", "/slow": "", "/none": "404",
	} {
		t.Run(path, func(t *testing.T) {
			opts := revocation.SourceOptions{URLs: []string{srv.URL + path}, Issuers: func() []*x509.Certificate { return certs(ca) }}
			if path == "/slow" {
				opts.Timeout = 50 * time.Millisecond
			}
			src, err := revocation.NewSource(opts)
			if err != nil {
				t.Fatal(err)
			}
			err = src.Load(t.Context())
			if (err == nil) != (path == "/good") || err != nil && !strings.Contains(err.Error(), words) {
				t.Errorf("%v", err)
			}
			if (len(src.Lists()) == 1) != (path == "/good") {
				t.Errorf("lists %v", src.Lists())
			}
		})
	}
}

func TestSourceFiles(t *testing.T) {
	ca := newIssuer(t, "ours", nil, nil)
	file := filepath.Join(t.TempDir(), "ca.crl")
	write := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	synctest.Test(t, func(t *testing.T) {
		opts := revocation.SourceOptions{Files: []string{file}, Now: func() time.Time { return now }}
		src, updates, stop := observed(t, opts, ca)
		synctest.Wait()
		write(ca.crl(t, list{number: 1, this: now}))
		src.Reload()
		synctest.Wait()
		write([]byte("half")) // while it is written
		src.Reload()
		synctest.Wait()
		write(ca.crl(t, list{number: 2, this: now}))
		src.Reload()
		synctest.Wait()
		os.Remove(file)
		src.Reload()
		synctest.Wait()
		stop()
		want := []revocation.Outcome{revocation.Failed, revocation.Loaded, revocation.Refused, revocation.Loaded, revocation.Failed}
		if got := outcomes(updates.all()); !slices.Equal(got, want) || src.Lists()[0].Number.Int64() != 2 {
			t.Errorf("outcomes %v, lists %v", got, src.Lists())
		}
	})
}

func TestNewSourceRefuses(t *testing.T) {
	issuers := func() []*x509.Certificate { return nil }
	for name, opts := range map[string]revocation.SourceOptions{
		"no issuers":  {},
		"twice":       {Issuers: issuers, Files: []string{"a", "a"}},
		"ftp":         {Issuers: issuers, URLs: []string{"ftp://a/b"}},
		"no host":     {Issuers: issuers, URLs: []string{"http:///b"}},
		"user":        {Issuers: issuers, URLs: []string{"http://u:secret@a/b"}},
		"negative":    {Issuers: issuers, Every: -1},
		"not a URL":   {Issuers: issuers, URLs: []string{"http://u:secret@a/%zz"}},
		"fragment":    {Issuers: issuers, URLs: []string{"http://a/b#c"}},
		"LDAP of AD ": {Issuers: issuers, URLs: []string{"ldap:///CN=x"}},
	} {
		if _, err := revocation.NewSource(opts); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
