package server_test

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sangate/sangate/server/servertest"
)

const noInotify = "SANGATE_TEST_NO_INOTIFY"

// The same where inotify is exhausted: the kernel answers as it does then. A
// process of its own, because that cannot be taken back, and because using up
// all there is would disturb others.
func TestPairRotationsWithoutEvents(t *testing.T) {
	if os.Getenv(noInotify) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPairRotationsWithoutEvents$", "-test.v",
			"-rotations="+strconv.Itoa(*pairRotations))
		cmd.Env = append(os.Environ(), noInotify+"=1")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Error(err)
		}
		return
	}
	exhaustInotify(t)
	log := &lookout{phrase: "no file events here, polling instead"}
	d := newPairFiles(t, servertest.Options{Log: log})
	rotatePairs(t, d, *pairRotations/7, 120)
	if log.seen.Load() == 0 {
		t.Error("there were file events: the test is about none")
	}
}

// exhaustInotify has every inotify_init1 of this process fail with EMFILE, as
// at fs.inotify.max_user_instances.
func exhaustInotify(t *testing.T) {
	t.Helper()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_INOTIFY_INIT1, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EMFILE)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // the two calls are of one thread; the second is for all
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&prog))); errno != 0 {
		t.Fatal(errno)
	}
	if _, err := unix.InotifyInit1(0); err != unix.EMFILE {
		t.Fatalf("inotify: %v, want EMFILE", err)
	}
}
