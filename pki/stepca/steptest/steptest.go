// Package steptest runs the real step-ca, as its makers ship it, for tests: a
// process of its own on a free loopback port, with its files in a temporary
// folder, stopped when the test ends.
//
// It never skips. Where the programs cannot be built or started, the test fails
// and says why.
package steptest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/stepca"
)

// Names of the provisioners every CA here has.
const (
	Provisioner     = "tests" // JWK
	ACMEProvisioner = "acme"
	X5CProvisioner  = "x5c" // where Options.X5CRoots is set
)

// Options shape a CA. Lifetimes are those of step-ca (24 h, 5 min, 24 h) where
// zero.
type Options struct {
	Default, Min, Max       time.Duration
	AllowRenewalAfterExpiry bool
	CRL                     bool
	NoBackdate              bool   // certificates begin when they are made, not a minute before
	X5CRoots                []byte // PEM: whose certificates the X5C provisioner trusts
	ACMEHTTP, ACMETLS       int    // ports challenges are verified at; 80 and 443 where zero
}

// A CA is a step-ca process and its folder.
type CA struct {
	URL         string
	Fingerprint string // SHA-256 of the root, hexadecimal
	RootPEM     []byte
	RootFile    string
	Dir         string // $STEPPATH

	flags        []string
	t            testing.TB
	stepCA, step string
	log          string
	cmd          *exec.Cmd     // nil: stopped
	ended        chan struct{} // closed at its end
}

// Start makes a CA and returns when it answers.
func Start(t testing.TB, opts Options) *CA {
	t.Helper()
	ca := &CA{t: t, Dir: t.TempDir(), stepCA: stepCA.path(t), step: step.path(t)}
	ca.log = filepath.Join(ca.Dir, "step-ca.log")
	address := freeAddress(t)
	ca.URL = "https://" + address
	ca.write("password", []byte("not a secret"))
	ca.Step("ca", "init", "--name", "Real", "--deployment-type", "standalone", "--provisioner", Provisioner,
		"--dns", "127.0.0.1", "--dns", "localhost", "--address", address, "--acme",
		"--password-file", ca.file("password"), "--provisioner-password-file", ca.file("password"))
	ca.configure(opts)
	if opts.AllowRenewalAfterExpiry {
		ca.age()
	}
	if opts.ACMEHTTP+opts.ACMETLS != 0 {
		ca.flags = append(ca.flags, "--insecure", "--acme-http-port", strconv.Itoa(opts.ACMEHTTP), "--acme-tls-port", strconv.Itoa(opts.ACMETLS))
	}
	ca.RootFile = ca.file("certs/root_ca.crt")
	ca.RootPEM = ca.read("certs/root_ca.crt")
	block, _ := pem.Decode(ca.RootPEM)
	if block == nil {
		t.Fatalf("steptest: no PEM in %s", ca.RootFile)
	}
	sum := sha256.Sum256(block.Bytes)
	ca.Fingerprint = hex.EncodeToString(sum[:])
	t.Cleanup(ca.Stop) // before the folder goes
	ca.Start()
	return ca
}

// configure changes what `step ca init` has no flags for.
func (ca *CA) configure(opts Options) {
	ca.t.Helper()
	cfg := ca.config()
	claims := map[string]any{"allowRenewalAfterExpiry": opts.AllowRenewalAfterExpiry}
	for name, d := range map[string]time.Duration{
		"defaultTLSCertDuration": opts.Default, "minTLSCertDuration": opts.Min, "maxTLSCertDuration": opts.Max,
	} {
		if d != 0 {
			claims[name] = d.String()
		}
	}
	auth := cfg["authority"].(map[string]any)
	// Tests stop it and start it again; it refuses tokens from before its start.
	auth["disableIssuedAtCheck"] = true
	if opts.NoBackdate {
		auth["backdate"] = "0s"
	}
	if opts.X5CRoots != nil {
		x5c := map[string]any{"type": "X5C", "name": X5CProvisioner, "roots": opts.X5CRoots}
		auth["provisioners"] = append(auth["provisioners"].([]any), x5c)
	}
	for _, p := range auth["provisioners"].([]any) {
		p := p.(map[string]any)
		own, _ := p["claims"].(map[string]any)
		if own == nil {
			own = map[string]any{}
		}
		maps.Copy(own, claims)
		p["claims"] = own
	}
	cfg["db"] = map[string]any{"type": "bbolt", "dataSource": ca.file("bbolt")}
	if opts.CRL {
		cfg["crl"] = map[string]any{"enabled": true, "generateOnRevoke": true, "idpURL": ca.URL + "/1.0/crl"}
	}
	ca.setConfig(cfg)
}

func (ca *CA) config() (cfg map[string]any) {
	ca.t.Helper()
	if err := json.Unmarshal(ca.read("config/ca.json"), &cfg); err != nil {
		ca.t.Fatalf("steptest: ca.json: %v", err)
	}
	return cfg
}

func (ca *CA) setConfig(cfg map[string]any) {
	ca.t.Helper()
	data, err := json.Marshal(cfg)
	if err != nil {
		ca.t.Fatalf("steptest: ca.json: %v", err)
	}
	ca.write("config/ca.json", data)
}

// Start starts a stopped CA on the address it had, and returns when it answers.
func (ca *CA) Start() {
	ca.t.Helper()
	log, err := os.OpenFile(ca.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		ca.t.Fatalf("steptest: %v", err)
	}
	defer log.Close()
	cmd := exec.Command(ca.stepCA, append([]string{ca.file("config/ca.json"), "--password-file", ca.file("password")}, ca.flags...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = ca.env(), log, log
	if err := cmd.Start(); err != nil {
		ca.t.Fatalf("steptest: %v", err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	ca.cmd, ca.ended = cmd, ended
	ca.await(ended)
}

// await asks for the CA's health until it has it.
func (ca *CA) await(ended <-chan struct{}) {
	ca.t.Helper()
	client, err := stepca.New(ca.URL, stepca.Options{RootFile: ca.RootFile, Timeout: 2 * time.Second})
	if err != nil {
		ca.t.Fatalf("steptest: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		if err = client.Health(ctx); err == nil {
			return
		}
		select {
		case <-ended:
			ca.t.Fatalf("steptest: step-ca ended at once:\n%s", ca.Log())
		case <-ctx.Done():
			ca.t.Fatalf("steptest: step-ca does not answer: %v\n%s", err, ca.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends the process, as `systemctl stop` would, and waits for its end.
func (ca *CA) Stop() {
	if ca.cmd == nil {
		return
	}
	ca.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ca.ended:
	case <-time.After(10 * time.Second):
		ca.cmd.Process.Kill()
		<-ca.ended
	}
	ca.cmd = nil
}

// PasswordFile holds the password of [Provisioner].
func (ca *CA) PasswordFile() string { return ca.file("password") }

// Token returns a one-time token, made by `step ca token`.
func (ca *CA) Token(subject string, sans ...string) string {
	ca.t.Helper()
	args := []string{"ca", "token", subject, "--provisioner", Provisioner, "--provisioner-password-file", ca.file("password"),
		"--ca-url", ca.URL, "--root", ca.RootFile}
	for _, san := range sans {
		args = append(args, "--san", san)
	}
	return strings.TrimSpace(ca.Step(args...))
}

// Step runs `step` on the CA's folder and returns what it prints.
func (ca *CA) Step(args ...string) string {
	ca.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, ca.step, args...)
	cmd.Env = ca.env()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		ca.t.Fatalf("steptest: step %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String()
}

// Log returns what step-ca logged so far.
func (ca *CA) Log() string {
	data, _ := os.ReadFile(ca.log)
	return string(data)
}

// env keeps the user's own step configuration and proxies out.
func (ca *CA) env() []string {
	return []string{"STEPPATH=" + ca.Dir, "HOME=" + ca.Dir, "PATH=" + os.Getenv("PATH")}
}

func (ca *CA) file(name string) string { return filepath.Join(ca.Dir, filepath.FromSlash(name)) }

func (ca *CA) read(name string) []byte {
	ca.t.Helper()
	data, err := os.ReadFile(ca.file(name))
	if err != nil {
		ca.t.Fatalf("steptest: %v", err)
	}
	return data
}

func (ca *CA) write(name string, data []byte) {
	ca.t.Helper()
	if err := os.WriteFile(ca.file(name), data, 0o600); err != nil {
		ca.t.Fatalf("steptest: %v", err)
	}
}

// freeAddress returns a loopback address nothing listens on just now.
func freeAddress(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("steptest: %v", err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
