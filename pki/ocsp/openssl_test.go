package ocsp

import (
	"bufio"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The responder of OpenSSL agrees, signing itself or as a delegate, and notices
// a revocation.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
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

// runOpenSSL runs a responder on loopback until the test ends.
func runOpenSSL(t *testing.T, openssl, dir string, ca, by *authority) (url string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(by.key)
	if err != nil {
		t.Fatal(err)
	}
	caFile := write(t, dir, "ca.crt", encode("CERTIFICATE", ca.cert.Raw))
	signer := write(t, dir, "signer.crt", encode("CERTIFICATE", by.cert.Raw))
	keyFile := write(t, dir, "signer.key", encode("PRIVATE KEY", key))
	port := freePort(t)
	cmd := exec.Command(openssl, "ocsp", "-index", filepath.Join(dir, "index.txt"), "-CA", caFile,
		"-rsigner", signer, "-rkey", keyFile, "-port", port, "-nmin", "5")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, ended := make(chan string, 1000), make(chan struct{})
	go func() {
		defer close(ended)
		for in := bufio.NewScanner(out); in.Scan(); {
			select {
			case lines <- in.Text():
			default:
			}
		}
		cmd.Wait()
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		for t.Failed() && len(lines) > 0 {
			t.Log("openssl: ", <-lines)
		}
	})
	// A connection that asks nothing would hold it up for ever, so none is tried.
	for deadline := time.After(20 * time.Second); ; {
		select {
		case line := <-lines:
			if strings.Contains(line, "waiting for OCSP client connections") {
				return "http://127.0.0.1:" + port + "/"
			}
		case <-ended:
			t.Fatal("openssl ended")
		case <-deadline:
			t.Fatal("openssl does not listen")
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
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
