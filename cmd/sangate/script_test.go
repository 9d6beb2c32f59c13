package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/apikey"
)

// The scripts run this very binary as sangate.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"octopus-upstream": octopusUpstream,
		"sangate":          func() { os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// Each script finds ca.crt, server.crt and server.key in its folder, for the
// configurations it writes, agent.crt of tenant
// acme, and other.crt, another CA.
func TestScripts(t *testing.T) {
	ca := pkitest.NewCA(t, "Test CA")
	server := ca.Issue(t, pkitest.Leaf{DNS: []string{"localhost"}, IPs: []string{"127.0.0.1"}})
	agent := ca.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/agent"}})
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			server.Write(t, env.WorkDir, "server")
			agent.Write(t, env.WorkDir, "agent")
			other := os.WriteFile(filepath.Join(env.WorkDir, "other.crt"), pkitest.NewCA(t, "Other CA").PEM(), 0o600)
			return errors.Join(other, os.WriteFile(filepath.Join(env.WorkDir, "ca.crt"), ca.PEM(), 0o600))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": code, "id": id},
	})
}

// code runs a command and wants its exit code: code N command args….
func code(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: code N command args…")
	}
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := err.(interface{ ExitCode() int })
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = string(rune('0' + exit.ExitCode()))
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// id sets $ID to the id in the key that a file holds.
func id(ts *testscript.TestScript, _ bool, args []string) {
	id, ok := apikey.Parse(strings.TrimSpace(ts.ReadFile(args[0])))
	if !ok {
		ts.Fatalf("%s holds no key", args[0])
	}
	ts.Setenv("ID", id)
}
