package ocsp

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The responder of OpenSSL agrees, signing itself or as a delegate, and notices
// a revocation.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("no openssl")
	}
	root := newCA(t, "root", nil)
	ca := newCA(t, "ours", root)
	for name, by := range map[string]*authority{"itself": ca, "delegate": ca.delegate(t, nil)} {
		t.Run(name, func(t *testing.T) {
			good, bad, nobody := ca.leaf(t), ca.leaf(t), ca.leaf(t)
			later := ca.leaf(t)
			dir := t.TempDir()
			index := func(revoked ...*authority) {
				var b strings.Builder
				for _, leaf := range []*authority{good, bad, later} {
					fmt.Fprintln(&b, indexLine(leaf.cert, contains(revoked, leaf)))
				}
				// A new file: openssl looks at the seconds of its time, and at its inode.
				if err := os.Rename(write(t, dir, "index.new", []byte(b.String())), filepath.Join(dir, "index.txt")); err != nil {
					t.Fatal(err)
				}
			}
			index(bad)
			url := runOpenSSL(t, openssl, dir, ca, by)
			heard := make(outcomes, 100)
			c := start(t, Options{Responder: url, OnAnswer: heard.hear, Every: time.Second})
			for _, test := range []struct {
				leaf   *authority
				status Status
				detail string
			}{
				{good, Good, ""}, {bad, Revoked, "keyCompromise"}, {nobody, Unknown, "does not know it"}, {later, Good, ""},
			} {
				if status, detail := await(t, c.Entry(chain(test.leaf, ca, root))); status != test.status || !strings.Contains(detail, test.detail) {
					t.Errorf("%v, %q; want %v, %q", status, detail, test.status, test.detail)
				}
			}
			index(bad, later)
			e := c.Entry(chain(later, ca, root))
			for end := time.Now().Add(20 * time.Second); ; {
				heard.next(t)
				if status, _ := e.Status(time.Now()); status == Revoked {
					break
				}
				if time.Now().After(end) {
					t.Fatal("the revocation went unnoticed")
				}
			}
		})
	}
}

func contains(all []*authority, one *authority) bool {
	for _, a := range all {
		if a == one {
			return true
		}
	}
	return false
}

// indexLine is a line of the text database of openssl ca(1).
func indexLine(cert *x509.Certificate, revoked bool) string {
	const form = "060102150405Z"
	serial := strings.ToUpper(cert.SerialNumber.Text(16))
	if len(serial)%2 == 1 {
		serial = "0" + serial
	}
	state, at := "V", ""
	if revoked {
		state, at = "R", time.Now().UTC().Format(form)+",keyCompromise"
	}
	return strings.Join([]string{state, cert.NotAfter.UTC().Format(form), at, serial, "unknown", "/CN=" + serial}, "\t")
}

// runOpenSSL answers on loopback with what openssl makes of each request. Its own
// listener would be open on all interfaces.
func runOpenSSL(t *testing.T, openssl, dir string, ca, by *authority) (url string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(by.key)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"ocsp", "-index", filepath.Join(dir, "index.txt"), "-CA", write(t, dir, "ca.crt", encode("CERTIFICATE", ca.cert.Raw)),
		"-rsigner", write(t, dir, "signer.crt", encode("CERTIFICATE", by.cert.Raw)),
		"-rkey", write(t, dir, "signer.key", encode("PRIVATE KEY", key)), "-nmin", "5"}
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		name := filepath.Join(dir, strconv.FormatInt(asked.Add(1), 10))
		if err := os.WriteFile(name+".req", body, 0o600); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		out, err := exec.CommandContext(r.Context(), openssl, slices.Concat(args, []string{"-reqin", name + ".req", "-respout", name + ".resp"})...).CombinedOutput()
		if err != nil {
			http.Error(w, string(out), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/ocsp-response")
		http.ServeFile(w, r, name+".resp")
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
