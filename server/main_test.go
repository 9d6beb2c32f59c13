package server_test

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
)

// TestMain has four tests run beside each other where there are fewer CPUs: those that
// call t.Parallel mostly wait. What changes or measures the whole process, uses a core
// for long or has little time to answer does not call it. When all are done, nothing runs
// any more: servertest knows what a gate's goroutines start, but not what timers do.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given && runtime.GOMAXPROCS(0) < 4 {
		_ = flag.Set("test.parallel", "4") // it is a number
	}
	before := runtime.NumGoroutine()
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if !servertest.WaitFor(func() bool { return runtime.NumGoroutine() <= before }, 10*time.Second) {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", stacks[:runtime.Stack(stacks, true)])
		code = max(code, 1)
	}
	os.Exit(code)
}
