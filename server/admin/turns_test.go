package admin_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sangate/sangate/server/admin"
)

// slow is a collector that takes a while.
type slow struct {
	takes time.Duration
	mu    sync.Mutex
	now   int
	most  int
}

func (s *slow) Describe(chan<- *prometheus.Desc) {}

func (s *slow) Collect(chan<- prometheus.Metric) {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	time.Sleep(s.takes)
	s.mu.Lock()
	s.now--
	s.mu.Unlock()
}

// stuck is a client that takes nothing.
type stuck struct {
	*httptest.ResponseRecorder
	ctx context.Context
}

func (s stuck) Write([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, io.ErrClosedPipe
}

// However many ask for /metrics, the metrics are gathered one after the other, with pauses.
// Clients that read nothing keep no other from its answer.
//
// Holds: local/admin-costly-answers
func TestMetricsFloodIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, takes = 50, 10 * time.Millisecond
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listener := admin.NewListener(l, time.Now, admin.Bounds{})
		defer listener.Close()
		metrics, gathered := admin.NewMetrics("", ""), &slow{takes: takes}
		metrics.Registry.MustRegister(gathered)
		h := admin.Handler(admin.Options{Metrics: metrics, Listener: listener, Turns: admin.NewTurns(),
			Log: slog.New(slog.DiscardHandler), Hosts: func() []string { return nil }, Console: http.NotFoundHandler()})
		ask := func(ctx context.Context, w http.ResponseWriter) {
			h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1/metrics", nil))
		}
		ctx, cancel := context.WithCancel(t.Context())
		var unread, read sync.WaitGroup
		for range n {
			unread.Go(func() { ask(ctx, stuck{httptest.NewRecorder(), ctx}) })
		}
		synctest.Wait()
		begun := time.Now()
		for range n {
			read.Go(func() {
				w := httptest.NewRecorder()
				if ask(ctx, w); w.Code != http.StatusOK || w.Body.Len() == 0 || w.Header().Get("Content-Type") == "" {
					t.Errorf("answer %d of %d bytes", w.Code, w.Body.Len())
				}
			})
		}
		gone, leave := context.WithTimeout(ctx, takes)
		defer leave()
		w := httptest.NewRecorder()
		if ask(gone, w); w.Body.Len() > 0 {
			t.Error("who went away before its turn is answered")
		}
		read.Wait()
		if took, want := time.Since(begun), (2*n-1)*4*takes; took < want || took > want+takes {
			t.Errorf("%d answers took %v, want %v", 2*n, took, want)
		}
		if gathered.most != 1 {
			t.Errorf("%d gathered at once", gathered.most)
		}
		cancel()
		unread.Wait()
	})
}

// A connection has a bounded number of answers a second, and others do not wait for it.
//
// Holds: local/admin-request-rate
func TestAdminConnectionsArePaced(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := admin.NewListener(inner, time.Now, admin.Bounds{})
	h := admin.Handler(admin.Options{Metrics: admin.NewMetrics("", ""), Listener: l, Turns: admin.NewTurns(),
		Log: slog.New(slog.DiscardHandler), Alive: func() error { return nil }, Hosts: func() []string { return nil }, Console: http.NotFoundHandler()})
	accepted := make(chan net.Conn, 2)
	for range cap(accepted) {
		client, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		accepted <- server
	}
	_ = l.Close()
	flooding, other := admin.ConnContext(t.Context(), <-accepted), admin.ConnContext(t.Context(), <-accepted)
	answered := func(ctx context.Context) bool {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1/healthz", nil))
		return w.Body.Len() > 0
	}
	begun, n := time.Now(), 0
	for range 1000 {
		ctx, cancel := context.WithTimeout(flooding, 10*time.Millisecond) // less than until the next answer
		if answered(ctx) {
			n++
		}
		cancel()
	}
	if most := 51 + int(20*time.Since(begun).Seconds()); n == 0 || n > most {
		t.Errorf("%d answered, want at most %d", n, most)
	}
	if !answered(other) {
		t.Error("another connection waits")
	}
}
