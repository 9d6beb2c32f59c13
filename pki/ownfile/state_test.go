//go:build linux

package ownfile

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const nobody = 65534

// TestForeignStateRefused checks each kind of folder that another user of the machine could change.
//
// Holds: local/state-folder
func TestForeignStateRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to another user")
	}
	for name, tt := range map[string]struct {
		prepare func(dir string) error
		want    string // "": accepted
	}{
		"missing":             {os.Remove, ""},
		"ours":                {func(string) error { return nil }, ""},
		"for all":             {func(dir string) error { return os.Chmod(dir, 0o777) }, "writable"},
		"for all, sticky":     {func(dir string) error { return os.Chmod(dir, 0o777|os.ModeSticky) }, "writable"},
		"for the group":       {func(dir string) error { return os.Chmod(dir, 0o770) }, "writable"},
		"of another user":     {func(dir string) error { return os.Chown(dir, nobody, nobody) }, "another user"},
		"parent for all":      {func(dir string) error { return os.Chmod(filepath.Dir(dir), 0o777) }, "writable"},
		"parent of another":   {func(dir string) error { return os.Chown(filepath.Dir(dir), nobody, nobody) }, "another user"},
		"missing in a parent": {func(dir string) error { _ = os.Remove(dir); return os.Chmod(filepath.Dir(dir), 0o777) }, "writable"},
		"link of another": {func(dir string) error {
			_ = os.Remove(dir)
			if err := os.Symlink(filepath.Dir(filepath.Dir(dir)), dir); err != nil {
				return err
			}
			return os.Lchown(dir, nobody, nobody)
		}, "another user"},
		"link of ours": {func(dir string) error { // as systemd makes of StateDirectory with DynamicUser
			if err := os.Rename(dir, dir+".real"); err != nil {
				return err
			}
			return os.Symlink(dir+".real", dir)
		}, ""},
	} {
		dir := filepath.Join(t.TempDir(), "state")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := tt.prepare(dir); err != nil {
			t.Fatal(err)
		}
		if got := MakeState(dir); (got == nil) != (tt.want == "") || got != nil && !strings.Contains(got.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, got, tt.want)
		}
		if info, err := os.Stat(dir); tt.want == "" && (err != nil || info.Mode().Perm() != 0o700) {
			t.Errorf("%s: %v, %v, want a folder of mode 0700", name, info, err)
		}
	}
}

// TestStateOnVolume checks the mount points that containers have.
func TestStateOnVolume(t *testing.T) {
	mount := filepath.Join(t.TempDir(), "volume")
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := mountTemporary(mount); err != nil {
		t.Skip("mounting needs root and CAP_SYS_ADMIN:", err)
	}
	defer unmount(t, mount)
	inside := filepath.Join(mount, "state")
	set := func(mode os.FileMode, owner, group int) {
		if err := os.Chown(mount, owner, group); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(mount, mode); err != nil {
			t.Fatal(err)
		}
	}
	set(0o777, 0, 0) // an emptyDir
	if err := MakeState(mount); err == nil || !strings.Contains(err.Error(), inside) {
		t.Errorf("an emptyDir itself: %v, want an error that names a folder in it", err)
	}
	if err := MakeState(inside); err != nil {
		t.Errorf("a folder in an emptyDir: %v", err)
	}
	if err := os.Chown(inside, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	if err := MakeState(inside); err == nil {
		t.Error("a folder of another user in an emptyDir is accepted")
	}
	set(0o770|os.ModeSetgid, 0, 0) // a volume with an fsGroup
	if err := MakeState(mount); err != nil {
		t.Errorf("a volume of our group: %v", err)
	}
	set(0o770, 0, nobody)
	if err := MakeState(mount); err == nil {
		t.Error("a volume of another group is accepted")
	}
	set(0o755, nobody, nobody)
	if err := MakeState(inside); err == nil {
		t.Error("a volume of another user is accepted")
	}
}

func TestForeignOutputRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to another user")
	}
	for name, tt := range map[string]struct {
		mode  os.FileMode
		owner int
		want  string
	}{
		"ours": {0o755, 0, ""}, "for a group": {0o775, 0, ""}, "sticky": {0o777 | os.ModeSticky, 0, ""},
		"for all": {0o777, 0, "writable"}, "of another user": {0o755, nobody, "another user"},
	} {
		dir := t.TempDir()
		if err := os.Chown(dir, tt.owner, tt.owner); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, tt.mode); err != nil {
			t.Fatal(err)
		}
		root, err := OpenOutput(dir)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if err == nil {
			root.Close()
		}
	}
}

// TestForeignFilesRefused checks files that sangate wrote and reads again.
//
// Holds: local/kept-files
func TestForeignFilesRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to another user")
	}
	for name, tt := range map[string]struct {
		prepare func(file string) error
		want    string
	}{
		"ours":            {func(string) error { return nil }, ""},
		"for all":         {func(file string) error { return os.Chmod(file, 0o666) }, "writable"},
		"for the group":   {func(file string) error { return os.Chmod(file, 0o660) }, "writable"},
		"of another user": {func(file string) error { return os.Chown(file, nobody, nobody) }, "another user"},
		"a link":          {func(file string) error { _ = os.Remove(file); return os.Symlink("/etc/hostname", file) }, "symbolic link"},
		"a FIFO":          {func(file string) error { _ = os.Remove(file); return syscall.Mkfifo(file, 0o600) }, "not a file"},
	} {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := tt.prepare(file); err != nil {
			t.Fatal(err)
		}
		if got := CheckNamed(file); (got == nil) != (tt.want == "") || got != nil && !strings.Contains(got.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, got, tt.want)
		}
	}
}
