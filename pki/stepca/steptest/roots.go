package steptest

import "slices"

// Files of root and intermediate, as `step ca init` names them, and of the root
// that follows.
const (
	rootCrt, rootKey   = "certs/root_ca.crt", "secrets/root_ca_key"
	interCrt, interKey = "certs/intermediate_ca.crt", "secrets/intermediate_ca_key"
	nextCrt, nextKey   = "certs/next_root.crt", "secrets/next_root_key"
)

// age replaces root and intermediate by ones an hour old. After expiry step-ca
// verifies a certificate as of a minute before its end, and ends of the short
// certificates of tests come sooner than a minute after `step ca init`.
func (ca *CA) age() {
	ca.t.Helper()
	ca.create("Real Root", "root-ca", rootCrt, rootKey)
	ca.intermediate(rootCrt, rootKey)
}

func (ca *CA) create(name, profile, crt, key string, more ...string) {
	ca.t.Helper()
	ca.Step(append([]string{"certificate", "create", name, ca.file(crt), ca.file(key), "--profile", profile, "--force",
		"--not-before", "-1h", "--not-after", "24h", "--password-file", ca.file("password")}, more...)...)
}

func (ca *CA) intermediate(root, key string) {
	ca.t.Helper()
	ca.create("Real Intermediate", "intermediate-ca", interCrt, interKey,
		"--ca", ca.file(root), "--ca-key", ca.file(key), "--ca-password-file", ca.file("password"))
}

// AddRoot begins a rotation: the CA serves a second root, and still signs under
// the first.
func (ca *CA) AddRoot() {
	ca.t.Helper()
	ca.create("Next Root", "root-ca", nextCrt, nextKey)
	ca.write("certs/roots.pem", slices.Concat(ca.read(rootCrt), ca.read(nextCrt)))
	ca.RootFile = ca.file("certs/roots.pem")
	ca.restart(rootCrt, nextCrt)
}

// SwitchRoot goes on: the CA signs, its own certificate included, under the
// second root.
func (ca *CA) SwitchRoot() {
	ca.t.Helper()
	ca.intermediate(nextCrt, nextKey)
	ca.restart(nextCrt, rootCrt)
}

// DropRoot ends it: the first root is served no more.
func (ca *CA) DropRoot() {
	ca.t.Helper()
	ca.restart(nextCrt)
}

// restart starts the CA with these roots.
func (ca *CA) restart(roots ...string) {
	ca.t.Helper()
	ca.Stop()
	cfg := ca.config()
	var names []string
	for _, name := range roots {
		names = append(names, ca.file(name))
	}
	cfg["root"] = names
	ca.setConfig(cfg)
	ca.Start()
}
