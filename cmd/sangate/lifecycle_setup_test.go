package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/stepca"
	"github.com/sangate/sangate/pki/stepca/steptest"
)

// An operatorCA is one that the scripts in scripts/ made.
type operatorCA struct {
	t                    *testing.T
	dir, bin, argv, addr string
	flags                []string // of step-ca-setup
}

// newOperatorCA runs step-ca-setup. Programs of the step family tell what they
// are called with.
func newOperatorCA(t *testing.T, flags ...string) *operatorCA {
	t.Helper()
	home := t.TempDir()
	ca := &operatorCA{t: t, dir: filepath.Join(home, "ca"), bin: filepath.Join(home, "bin"), argv: filepath.Join(home, "argv"), addr: freePort(t)}
	if err := os.Mkdir(ca.bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, path := range steptest.Programs(t) {
		told := fmt.Sprintf("#!/bin/sh\nprintf '%%s\\n' \"$*\" >>%s\nexec %s \"$@\"\n", ca.argv, path)
		if err := os.WriteFile(filepath.Join(ca.bin, name), []byte(told), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ca.flags = append([]string{"--dir", ca.dir, "--listen", ca.addr, "--ca-name", "127.0.0.1", "--gate", "localhost", "--trust-domain", "example.org"}, flags...)
	return ca
}

// script runs one of scripts/ and returns what it prints and its exit code.
func (ca *operatorCA) script(name string, args ...string) (printed string, code int) {
	ca.t.Helper()
	ctx, cancel := context.WithTimeout(ca.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "../../scripts/"+name, args...)
	cmd.Env = []string{"PATH=" + ca.bin + ":" + os.Getenv("PATH"), "HOME=" + filepath.Dir(ca.dir)}
	out, err := cmd.CombinedOutput()
	if exit, ok := err.(*exec.ExitError); ok {
		return string(out), exit.ExitCode()
	}
	if err != nil {
		ca.t.Fatal(err)
	}
	return string(out), 0
}

// step runs step on the CA's folder and returns what it prints.
func (ca *operatorCA) step(args ...string) string {
	ca.t.Helper()
	cmd := exec.CommandContext(ca.t.Context(), steptest.Programs(ca.t)["step"], args...)
	cmd.Env = []string{"STEPPATH=" + ca.dir, "HOME=" + ca.dir}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		ca.t.Fatalf("step %q: %v\n%s", args, err, errs.String())
	}
	return strings.TrimSpace(string(out))
}

func (ca *operatorCA) setup(more ...string) string {
	ca.t.Helper()
	out, code := ca.script("step-ca-setup", append(slices.Clone(ca.flags), more...)...)
	if code != 0 {
		ca.t.Fatalf("step-ca-setup: exit %d\n%s", code, out)
	}
	return out
}

func (ca *operatorCA) file(name string) string { return filepath.Join(ca.dir, name) }

func (ca *operatorCA) read(name string) string {
	ca.t.Helper()
	data, err := os.ReadFile(ca.file(name))
	if err != nil {
		ca.t.Fatal(err)
	}
	return string(data)
}

// start runs step-ca until the test ends and returns a client of it.
func (ca *operatorCA) start(flags ...string) *stepca.Client {
	ca.t.Helper()
	var log logBuffer
	cmd := exec.Command(steptest.Programs(ca.t)["step-ca"], append([]string{ca.file("config/ca.json"), "--password-file", ca.file("secrets/ca_password")}, flags...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = []string{"STEPPATH=" + ca.dir, "HOME=" + ca.dir}, &log, &log
	if err := cmd.Start(); err != nil {
		ca.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	ca.t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); <-ended })
	client, err := stepca.New("https://"+ca.addr, stepca.Options{RootFile: ca.file("certs/root_ca.crt")})
	if err != nil {
		ca.t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); client.Health(ca.t.Context()) != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			ca.t.Fatalf("step-ca does not answer\n%s", log.String())
		}
	}
	return client
}

// tree is what would tell of a change: content, mode and time of every file.
func (ca *operatorCA) tree() map[string]string {
	ca.t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(ca.dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(name)
		files[name] = fmt.Sprintf("%v %v %x", info.Mode(), info.ModTime(), sha256.Sum256(data))
		if info.Mode().Perm()&0o077 != 0 {
			ca.t.Errorf("%s has mode %v", name, info.Mode())
		}
		return err
	})
	if err != nil {
		ca.t.Fatal(err)
	}
	return files
}

// A second run finds nothing to do, other flags change what they say, and no
// password is seen anywhere.
func TestStepCASetup(t *testing.T) {
	ca := newOperatorCA(t)
	first := ca.setup()
	before := ca.tree()
	second := ca.setup()
	if !strings.HasPrefix(second, "nothing to change\n") || !reflect.DeepEqual(ca.tree(), before) {
		t.Errorf("the second run changed something:\n%s", second)
	}
	_, one, _ := strings.Cut(first, "Root fingerprint")
	_, two, _ := strings.Cut(second, "Root fingerprint")
	if one != two || one == "" {
		t.Errorf("the runs tell different things:\n%s\n%s", first, second)
	}

	var cfg struct {
		CRL map[string]any
		DB  struct{ Type string }
	}
	if err := json.Unmarshal([]byte(ca.read("config/ca.json")), &cfg); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"enabled": true, "generateOnRevoke": true, "cacheDuration": "24h", "renewPeriod": "8h", "idpURL": "https://" + ca.addr + "/1.0/crl"}
	if !reflect.DeepEqual(cfg.CRL, want) || cfg.DB.Type != "bbolt" {
		t.Errorf("ca.json has %+v", cfg)
	}

	third := ca.setup("--gate", "Gate.Internal", "--renew-after-expiry=agents")
	if !strings.Contains(third, "changes: 1;") || !strings.Contains(ca.read("config/ca.json"), `"gate.internal"`) {
		t.Errorf("another gate:\n%s", third)
	}
	var changed []string
	for name, is := range ca.tree() {
		if is != before[name] {
			changed = append(changed, filepath.Base(name))
		}
	}
	if !slices.Equal(changed, []string{"ca.json"}) {
		t.Errorf("another gate changed %q", changed)
	}

	argv, err := os.ReadFile(ca.argv)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, name := range []string{"ca_password", "gate_password", "agents_password"} {
		secret := ca.read("secrets/" + name)
		if len(secret) < 40 || seen[secret] || strings.Contains(first+second+third+string(argv), secret) {
			t.Errorf("%s is short, used twice, printed, or an argument", name)
		}
		seen[secret] = true
	}
}

func TestStepCASetupRefuses(t *testing.T) {
	ca := newOperatorCA(t)
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"nothing", nil, 2, "--ca-name"},
		{"unknown flag", []string{"--port", "1"}, 2, "--port"},
		{"no value", []string{"--dir"}, 2, "--dir needs a value"},
		{"lifetime", append(ca.flags, "--lifetime", "a day"), 2, "a day"},
		{"provisioner", append(ca.flags, "--renew-after-expiry", "all"), 2, "all"},
		{"trust domain", append(ca.flags, "--trust-domain", "Example.org/x"), 2, "Example.org/x"},
		{"gate", append(ca.flags, "--gate", `x"]`), 2, `x"]`},
		{"plain http", append(ca.flags, "--url", "http://x"), 2, "https"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, code := ca.script("step-ca-setup", tt.args...)
			if code != tt.code || !strings.Contains(out, tt.want) || strings.Count(out, "\n") != 1 {
				t.Errorf("exit %d, printed %s", code, out)
			}
			if _, err := os.Stat(ca.dir); err == nil {
				t.Error("and made the folder")
			}
		})
	}
	if out, code := ca.script("step-ca-setup", "--help"); code != 0 || !strings.Contains(out, "--renew-after-expiry") {
		t.Errorf("--help: exit %d\n%s", code, out)
	}

	ca.setup()
	if err := os.Remove(ca.file("config/ca.json")); err != nil {
		t.Fatal(err)
	}
	if out, code := ca.script("step-ca-setup", ca.flags...); code != 1 || !strings.Contains(out, "half of a CA") {
		t.Errorf("a CA without configuration: exit %d\n%s", code, out)
	}
}

// shellcheck finds nothing wrong with the scripts.
func TestScriptsAreChecked(t *testing.T) {
	scripts, err := filepath.Glob("../../scripts/step-*")
	if err != nil || len(scripts) != 2 {
		t.Fatal(scripts, err)
	}
	check, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skip("shellcheck is not installed")
	}
	if out, err := exec.CommandContext(t.Context(), check, scripts...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
