package console_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/server/console"
)

// Those who follow one view have it made once a second, however many they are.
func TestFollowersShareALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		c := console.New(console.Source{Now: time.Now, Upstreams: func() []console.Upstream { looks.Add(1); return nil }})
		ctx, cancel := context.WithCancel(t.Context())
		var followers sync.WaitGroup
		for i := range 20 {
			followers.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				c.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/live?view=/upstreams", nil))
			})
		}
		time.Sleep(5500 * time.Millisecond)
		cancel()
		followers.Wait()
		if n := looks.Load(); n != 6 {
			t.Errorf("20 followers, five seconds: %d looks", n)
		}
	})
}
