package prometheus_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
)

// A watch is a real Prometheus with our rules, and a real Alertmanager that tells
// what fires. All that takes minutes and hours in them takes seconds here.
type watch struct {
	t   *testing.T
	url string // of Prometheus

	mu    sync.Mutex
	fired map[alert]bool // that Alertmanager has told of
}

// An alert is one of one gate; instance is "" for those of all gates together.
type alert struct{ name, instance string }

// windows are what makes rules slow.
var windows = []struct {
	of   *regexp.Regexp
	here string
}{
	{regexp.MustCompile(`\[1d\] offset 10m`), "[20s] offset 15s"},
	{regexp.MustCompile(`\[\d+[mh]\]`), "[10s]"},
	{regexp.MustCompile(`for: \w+`), "for: 1s"},
	{regexp.MustCompile(`interval: \w+`), "interval: 1s"},
}

// startWatch has them look at gates, admin addresses by name, until the test ends.
// flags are Prometheus'.
func startWatch(t *testing.T, gates map[string]string, flags ...string) *watch {
	t.Helper()
	prometheus := servertest.Debian(t, "prometheus", "prometheus")
	manager := servertest.Debian(t, "prometheus-alertmanager", "prometheus-alertmanager")
	w := &watch{t: t, fired: make(map[alert]bool)}
	hook := httptest.NewServer(w)
	t.Cleanup(hook.Close)
	dir := t.TempDir()
	at, managerAt := free(t), free(t)
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rules := read("rules.yaml")
	for _, w := range windows {
		rules = w.of.ReplaceAllString(rules, w.here)
	}
	write("rules.yaml", rules)
	var targets strings.Builder
	for name, admin := range gates {
		fmt.Fprintf(&targets, "\n      - {targets: [%q], labels: {instance: %s}}", strings.TrimPrefix(admin, "http://"), name)
	}
	conf := read("prometheus.yaml")
	for _, edit := range [][2]string{{"15s", "1s"}, {"127.0.0.1:9093", managerAt}, {"\n      - targets: [\"127.0.0.1:9090\"]", targets.String()}} {
		if !strings.Contains(conf, edit[0]) {
			t.Fatalf("prometheus.yaml has no %q", edit[0])
		}
		conf = strings.ReplaceAll(conf, edit[0], edit[1])
	}
	write("prometheus.yaml", conf)
	write("alertmanager.yaml", fmt.Sprintf("route: {receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}\n"+
		"receivers: [{name: hook, webhook_configs: [{url: %q}]}]\n", hook.URL))
	w.start(dir, manager, "--config.file=alertmanager.yaml", "--storage.path=silences", "--cluster.listen-address=", "--web.listen-address="+managerAt)
	w.start(dir, prometheus, append([]string{"--config.file=prometheus.yaml", "--storage.tsdb.path=series", "--web.listen-address=" + at, "--enable-feature=exemplar-storage", "--rules.alert.resend-delay=1s"}, flags...)...)
	w.url = "http://" + at
	return w
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a program until the test ends.
func (w *watch) start(dir, program string, args ...string) {
	w.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	log, err := os.Create(filepath.Join(dir, filepath.Base(program)+".log"))
	if err != nil {
		w.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && testing.Verbose() && w.t.Failed() {
			w.t.Logf("%s said\n%s", program, text[max(0, len(text)-4000):])
		}
	})
}

// ServeHTTP is where Alertmanager tells what fires.
func (w *watch) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var told struct {
		Alerts []struct {
			Status string
			Labels map[string]string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&told); err != nil {
		w.t.Errorf("Alertmanager sent what is no JSON: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range told.Alerts {
		if a.Status == "firing" {
			w.fired[alert{a.Labels["alertname"], a.Labels["instance"]}] = true
		}
	}
}

// has reports whether Alertmanager has told of an alert.
func (w *watch) has(a alert) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fired[a]
}

// query returns the values of an expression now, by instance: of several the first
// that is a number.
func (w *watch) query(expr string) map[string]string {
	res, err := http.Get(w.url + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return nil // it is not up yet
	}
	defer res.Body.Close()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return nil
	}
	out := map[string]string{}
	for _, r := range answer.Data.Result {
		if instance := r.Metric["instance"]; out[instance] == "" || out[instance] == "NaN" {
			out[instance] = fmt.Sprint(r.Value[1])
		}
	}
	return out
}

// until waits; else tells what lacks.
func (w *watch) until(what string, limit time.Duration, is func() bool, lacks ...func() string) {
	w.t.Helper()
	if !servertest.WaitFor(is, limit) {
		for _, f := range lacks {
			what += " " + f()
		}
		w.t.Fatalf("waited in vain: %s", what)
	}
}
