package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// systemd finds nothing wrong with the units, and the commands in them are ones
// that sangate takes.
func TestUnits(t *testing.T) {
	units, err := filepath.Glob("../../scripts/systemd/*.service")
	if err != nil || len(units) != 3 {
		t.Fatal(units, err)
	}
	programs, dir := tools(t), t.TempDir()
	var copies []string
	for _, unit := range units {
		data, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		text := regexp.MustCompile(`/usr/bin/(sangate|step-ca)`).ReplaceAllString(string(data), programs+"/$1")
		name := filepath.Join(dir, filepath.Base(unit))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, name)
		for _, m := range regexp.MustCompile(`Exec\w+=/usr/bin/sangate (.*)`).FindAllStringSubmatch(strings.ReplaceAll(string(data), "\\\n", ""), -1) {
			code, _, errs := sangate(t, "", append(strings.Fields(m[1]), "--help")...)
			if code != 0 {
				t.Errorf("%s: sangate %s: %s", filepath.Base(unit), m[1], errs)
			}
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("systemd-analyze is not installed")
	}
	if out, err := exec.CommandContext(t.Context(), analyze, append([]string{"verify"}, copies...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
