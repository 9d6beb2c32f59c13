package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// rotate runs a step of step-ca-rotate-root, which must work.
func (ca *operatorCA) rotate(what string) {
	ca.t.Helper()
	if out, code := ca.script("step-ca-rotate-root", "--dir", ca.dir, what); code != 0 {
		ca.t.Fatalf("%s: exit %d\n%s", what, code, out)
	}
	ca.whole(what)
}

// trust is what ca.json says of roots and the signing certificate, by their
// files' names.
func (ca *operatorCA) trust() (roots []string, crt string) {
	ca.t.Helper()
	var cfg struct {
		Root     any
		Crt, Key string
	}
	if err := json.Unmarshal([]byte(ca.read("config/ca.json")), &cfg); err != nil {
		ca.t.Fatal(err)
	}
	many, ok := cfg.Root.([]any)
	if !ok {
		many = []any{cfg.Root}
	}
	for _, file := range append(many, cfg.Crt, cfg.Key) {
		name, ok := strings.CutPrefix(file.(string), ca.dir+"/")
		if _, err := os.Stat(ca.file(name)); err != nil || !ok {
			ca.t.Errorf("ca.json names %v: %v", file, err)
		}
		roots = append(roots, name)
	}
	return roots[:len(many)], roots[len(many)]
}

// whole wants ca.json to name files that are there, and everything to be of one
// owner, with nothing in it for others.
func (ca *operatorCA) whole(when string) {
	ca.t.Helper()
	ca.trust()
	ca.tree()
	owner := func(name string) uint32 {
		info, err := os.Stat(name)
		if err != nil {
			ca.t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Uid
	}
	err := filepath.WalkDir(ca.dir, func(name string, _ fs.DirEntry, err error) error {
		if err == nil && owner(name) != owner(ca.dir) {
			ca.t.Errorf("%s: %s is of user %d, the CA of %d", when, name, owner(name), owner(ca.dir))
		}
		return err
	})
	if err != nil {
		ca.t.Fatal(err)
	}
}

// Run by root for a CA of another user, as operators do, the steps leave it
// everything it needs.
func TestRotateRootKeepsTheOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make files of others")
	}
	ca := newOperatorCA(t)
	ca.setup()
	err := filepath.WalkDir(ca.dir, func(name string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Chown(name, 65534, 65534)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"begin", "switch", "finish"} {
		ca.rotate(step)
	}
	ca.setup("--gate", "gate.internal")
	ca.whole("step-ca-setup")
	if roots, crt := ca.trust(); !slices.Equal(roots, []string{"certs/root_ca.crt"}) || crt != "certs/intermediate_ca.crt" {
		t.Errorf("in the end: %q, %q", roots, crt)
	}
}

// A step that was cut off is run again, and ends as it would have.
func TestRotateRootAfterACut(t *testing.T) {
	ca := newOperatorCA(t)
	ca.setup()
	old := ca.read("certs/root_ca.crt")
	setRoot := func(roots ...string) {
		t.Helper()
		var cfg map[string]any
		if err := json.Unmarshal([]byte(ca.read("config/ca.json")), &cfg); err != nil {
			t.Fatal(err)
		}
		cfg["root"] = roots
		data, err := json.Marshal(cfg)
		if err == nil {
			err = os.WriteFile(ca.file("config/ca.json"), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func(what, says string) {
		t.Helper()
		before := ca.read("config/ca.json")
		if out, code := ca.script("step-ca-rotate-root", "--dir", ca.dir, what); code != 1 || !strings.Contains(out, says) || ca.read("config/ca.json") != before {
			t.Errorf("%s: exit %d\n%s", what, code, out)
		}
	}

	refused("switch", "begin first")
	// The wrong password, then a run that ended in the middle of making keys.
	password := ca.read("secrets/ca_password")
	if err := os.WriteFile(ca.file("secrets/ca_password"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("begin", "ca_password")
	if err := os.WriteFile(ca.file("secrets/ca_password"), []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(ca.file("next.making"), 0o700); err != nil {
		t.Fatal(err)
	}
	ca.rotate("begin")
	refused("begin", "has begun already")
	refused("finish", "switch first")

	setRoot(ca.file("certs/root_ca.crt")) // as before ca.json was written
	ca.rotate("begin")
	if roots, _ := ca.trust(); !slices.Equal(roots, []string{"certs/root_ca.crt", "next/root_ca.crt"}) {
		t.Errorf("after begin: %q", roots)
	}
	ca.rotate("switch")
	ca.rotate("switch")

	setRoot(ca.file("next/root_ca.crt")) // finish, cut off in its middle
	if err := os.Rename(ca.file("certs/root_ca.crt"), ca.file("gone")); err != nil {
		t.Fatal(err)
	}
	refused("switch", "finish has begun")
	ca.rotate("finish")
	if roots, crt := ca.trust(); !slices.Equal(roots, []string{"certs/root_ca.crt"}) || crt != "certs/intermediate_ca.crt" || ca.read("certs/root_ca.crt") == old {
		t.Errorf("in the end: %q, %q", roots, crt)
	}
	if !strings.Contains(ca.read("config/defaults.json"), fingerprint(t, ca.read("certs/root_ca.crt"))) {
		t.Errorf("step does not know the new root: %s", ca.read("config/defaults.json"))
	}
	refused("finish", "begin first")
	ca.start() // it does
}

func fingerprint(t *testing.T, certificate string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(certificate))
	if block == nil {
		t.Fatalf("no PEM in %q", certificate)
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:])
}
