package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/inspect"
	"github.com/sangate/sangate/pki/stepca/steptest"
	"github.com/sangate/sangate/server/material"
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

// What is revoked comes with the lines that shut out its holder; they go into a
// file or a running gate, where they refuse what the certificate was renewed to.
func TestCertRevokeLineage(t *testing.T) {
	ca := steptest.Start(t, steptest.Options{CRL: true})
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	where := []string{"--ca-url", ca.URL, "--root", ca.RootFile}
	ok := func(stdin string, args ...string) string {
		t.Helper()
		code, out, errs := sangate(t, stdin, args...)
		if code != 0 {
			t.Fatalf("%v: exit %d\n%s", args, code, errs)
		}
		return out
	}
	issue := func(name, san string) (pair []string) {
		pair = []string{"--cert", file(name + ".crt"), "--key", file(name + ".key")}
		ok(ca.Token(name, san)+"\n", slices.Concat([]string{"cert", "enroll", "--token-file", "-"}, where, pair)...)
		return pair
	}
	agent := issue("agent", "spiffe://example.org/tenant/acme/a1")
	issue("ops", "ops@example.org")
	issue("gate", "localhost")
	text := fmt.Sprintf("state: state\nlisten: 127.0.0.1:0\nadmin: 127.0.0.1:0\ntls: {cert: gate.crt, key: gate.key, clientCA: [%s], revocation: {denylist: denied}}\n"+
		"tenants: [{id: acme, sans: [\"uri:spiffe://example.org/tenant/acme/*\"]}]\nadmins: {sans: [\"email:ops@example.org\"]}\n", ca.RootFile)
	if err := errors.Join(os.WriteFile(file("sangate.yaml"), []byte(text), 0o600), os.WriteFile(file("denied"), []byte("# ours"), 0o640)); err != nil {
		t.Fatal(err)
	}
	key := ok("", "token", "mint", "--config", file("sangate.yaml"), "--admins")

	// As it stands when it is lost; meanwhile it was renewed.
	for _, ext := range []string{".crt", ".key"} {
		data, err := os.ReadFile(file("agent" + ext))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file("lost"+ext), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ok("", slices.Concat([]string{"cert", "renew"}, where, agent)...)
	lost := slices.Concat([]string{"cert", "revoke", "--cert", file("lost.crt"), "--key", file("lost.key")}, where)
	out := ok("", append(lost, "--denylist", file("denied"), "--deny", "key")...)
	denied, err := os.ReadFile(file("denied"))
	if err != nil || !strings.HasPrefix(string(denied), "# ours\nspki:") || !strings.Contains(out, "denied at the gate") {
		t.Fatalf("%s\n%s %v", out, denied, err)
	}
	if info, err := os.Stat(file("denied")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
	list, err := material.ParseDenylist(bytes.NewReader(denied), "denied")
	if err != nil || list.Len() != 1 {
		t.Fatalf("%d entries, %v", list.Len(), err)
	}

	url := runGate(t, file("sangate.yaml"))
	call := func(want bool) {
		t.Helper()
		res, err := mutual(t, ca, file("agent.crt"), file("agent.key")).Get(url + "/health")
		if err == nil {
			res.Body.Close()
		}
		if got := err == nil && res.StatusCode == http.StatusOK; got != want {
			t.Errorf("the renewed certificate gets in: %t, want %t (%v)", got, want, err)
		}
	}
	call(false)
	ok("", slices.Concat([]string{"cert", "rekey"}, where, agent)...)
	call(true)
	// Out of the CA's hands by now (already revoked there), but the gate hears.
	code, _, errs := sangate(t, key, append(lost, "--gate", url, "--admin-cert", file("ops.crt"), "--admin-key", file("ops.key"), "--admin-token-file", "-")...)
	if code != exitFailed || !strings.Contains(errs, "denied at the gate, but not revoked at the CA") || strings.Contains(errs, strings.TrimSpace(key)) {
		t.Errorf("exit %d %s", code, errs)
	}
	call(false)
	if out := ok("", slices.Concat([]string{"cert", "revoke", "--json"}, where, agent)...); !strings.Contains(out, `"san:uri:spiffe://example.org/tenant/acme/a1"`) {
		t.Errorf("no line for the name in\n%s", out)
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
		{"deny without certificate", []string{"cert", "revoke", "--ca-url", "https://127.0.0.1:1", "--fingerprint", strings.Repeat("0", 64), "--serial", "1", "--token-file", file, "--denylist", "x"}, exitUsage, "--cert"},
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

// What `cert watch` renews, it tells the program and the metrics.
func TestCertWatch(t *testing.T) {
	for name, shell := range map[string][]string{"--exec": {"--exec", "sh", "--", "-c"}, "--": {"--", "sh", "-c"}} {
		t.Run(name, func(t *testing.T) { t.Parallel(); watchOnce(t, shell) })
	}
}

// watchOnce watches until a renewal was told to a command of that shell.
func watchOnce(t *testing.T, shell []string) {
	t.Helper()
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
		args := slices.Concat([]string{"cert", "watch", "--metrics", metrics}, where, shell, []string{`cat "$SANGATE_CERT" >"$0"`, told + " file"})
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
