package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/inspect"
	"github.com/sangate/sangate/pki/stepca/steptest"
)

// sangate runs one command and returns its exit code and output.
func sangate(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// The whole life of a certificate by the command line, against a real step-ca.
func TestCertLifecycle(t *testing.T) {
	ca := steptest.Start(t, steptest.Options{Min: time.Second})
	dir := t.TempDir()
	crt, key := filepath.Join(dir, "agent.crt"), filepath.Join(dir, "agent.key")
	where := []string{"--ca-url", ca.URL, "--cert", crt, "--key", key}
	byFingerprint := append([]string{"--fingerprint", ca.Fingerprint}, where...)
	byRoot := append([]string{"--root", ca.RootFile}, where...)
	const id = "spiffe://example.org/tenant/acme/a1"

	ok := func(stdin string, args ...string) string {
		t.Helper()
		code, out, errs := sangate(t, stdin, args...)
		if code != 0 {
			t.Fatalf("%v: exit %d\n%s", args, code, errs)
		}
		return out
	}
	look := func() inspect.Certificate {
		t.Helper()
		var r inspect.Report
		if err := json.Unmarshal([]byte(ok("", "cert", "inspect", "--json", crt)), &r); err != nil {
			t.Fatal(err)
		}
		return r.Certificates[0]
	}

	ok(ca.Token("agent", id)+"\n", append([]string{"cert", "enroll", "--token-file", "-"}, byFingerprint...)...)
	first := look()
	if len(first.SANs.URI) != 1 || first.SANs.URI[0] != id {
		t.Errorf("names %+v", first.SANs)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v %v", info.Mode(), err)
	}
	if out := ok("", "cert", "inspect", crt); !strings.Contains(out, "uri:"+id) || !strings.Contains(out, first.Fingerprints.SHA256) {
		t.Errorf("inspect prints\n%s", out)
	}

	ok("", append([]string{"cert", "renew"}, byRoot...)...)
	renewed := look()
	if renewed.Serial == first.Serial || renewed.Fingerprints.SPKISHA256 != first.Fingerprints.SPKISHA256 {
		t.Error("renew: want another serial and the same key")
	}
	ok("", append([]string{"cert", "rekey"}, byRoot...)...)
	rekeyed := look()
	if rekeyed.Fingerprints.SPKISHA256 == first.Fingerprints.SPKISHA256 || rekeyed.SANs.URI[0] != id {
		t.Error("rekey: want another key and the same name")
	}

	u, err := url.Parse(ca.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, out, errs := sangate(t, "", "cert", "inspect", u.Host); !strings.Contains(out, "subject") {
		t.Errorf("inspect %s: %s%s", u.Host, out, errs)
	}

	ok("", append([]string{"cert", "revoke", "--reason-code", "1"}, byRoot...)...)
	if code, _, errs := sangate(t, "", append([]string{"cert", "renew"}, byRoot...)...); code != exitFailed || !strings.Contains(errs, "sangate: ") {
		t.Errorf("renew of a revoked certificate: exit %d %s", code, errs)
	}
}

func TestCertRefusals(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.pem")
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no CA", []string{"cert", "renew", "--cert", "a", "--key", "b"}, exitUsage, "--ca-url"},
		{"no root", []string{"cert", "renew", "--ca-url", "https://x", "--cert", "a", "--key", "b"}, exitUsage, "--fingerprint"},
		{"plain http", []string{"cert", "renew", "--ca-url", "http://x", "--fingerprint", strings.Repeat("0", 64), "--cert", "a", "--key", "b"}, exitUsage, "https"},
		{"no files", []string{"cert", "enroll", "--ca-url", "https://x", "--root", file}, exitUsage, "--cert"},
		{"no token", []string{"cert", "enroll", "--ca-url", "https://127.0.0.1:1", "--fingerprint", strings.Repeat("0", 64), "--cert", "a", "--key", "b"}, exitUsage, "--token-file"},
		{"key type", []string{"cert", "enroll", "--ca-url", "https://127.0.0.1:1", "--fingerprint", strings.Repeat("0", 64), "--cert", "a", "--key", "b", "--key-type", "dsa"}, exitUsage, "dsa"},
		{"serial", []string{"cert", "revoke", "--ca-url", "https://127.0.0.1:1", "--fingerprint", strings.Repeat("0", 64), "--serial", "x"}, exitUsage, "--serial"},
		{"nothing to inspect", []string{"cert", "inspect"}, exitUsage, "name one"},
		{"no certificate in it", []string{"cert", "inspect", file}, exitFailed, "no certificate"},
		{"no such file", []string{"cert", "inspect", filepath.Join(dir, "none")}, exitFailed, "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := sangate(t, "", tt.args...)
			if code != tt.code || !strings.Contains(errs, tt.want) || out != "" {
				t.Errorf("exit %d, stdout %q, stderr %q", code, out, errs)
			}
		})
	}
}

// What `cert watch` renews, it tells the command and the metrics.
func TestCertWatch(t *testing.T) {
	ca := steptest.Start(t, steptest.Options{Min: time.Second, Default: 6 * time.Second})
	dir := t.TempDir()
	crt, key, told := filepath.Join(dir, "w.crt"), filepath.Join(dir, "w.key"), filepath.Join(dir, "told")
	where := []string{"--ca-url", ca.URL, "--root", ca.RootFile, "--cert", crt, "--key", key}
	if code, _, errs := sangate(t, ca.Token("w"), append([]string{"cert", "enroll", "--token-file", "-"}, where...)...); code != 0 {
		t.Fatal(errs)
	}
	before, err := os.ReadFile(crt)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	metrics := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var errs logBuffer
	done := make(chan int)
	go func() {
		// No shell comes between: the argument with a space is one.
		args := append(append([]string{"cert", "watch", "--metrics", metrics}, where...), "--", "sh", "-c", `cat "$SANGATE_CERT" >"$0"`, told+" file")
		done <- run(ctx, args, nil, io.Discard, &errs)
	}()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		got, _ := os.ReadFile(told + " file")
		if len(got) > 0 && !bytes.Equal(got, before) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("not renewed\n%s", errs.String())
		}
	}
	res, err := http.Get("http://" + metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if !strings.Contains(string(body), `sangate_certificate_renewals_total{result="ok"}`) || strings.Contains(string(body), `renewals_total{result="ok"} 0`) {
		t.Errorf("metrics:\n%s", body)
	}
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("exit %d\n%s", code, errs.String())
	}
}
