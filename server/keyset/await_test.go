package keyset_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/server/keyset"
)

// Who waits for keys goes on when they are in force, and not when they have merely been
// fetched: a token would be refused whose key is there.
func TestAwaitUntilInForce(t *testing.T) {
	for name, late := range map[string]bool{"waits from the start": false, "comes when they are fetched": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var inForce atomic.Bool
				s, err := keyset.New(keyset.Options{Issuer: "https://issuer.example", URL: "https://issuer.example/keys", Now: time.Now,
					Client: &http.Client{Transport: &documents{body: setOf(ec("one"))}},
					OnChange: func() {
						time.Sleep(time.Second) // another reload is at it
						inForce.Store(true)
					}})
				if err != nil {
					t.Fatal(err)
				}
				go s.Run(t.Context())
				if late {
					synctest.Wait()
					if !contains(s, "one") {
						t.Fatal("not fetched")
					}
				}
				if s.Await(t.Context(), nil); !inForce.Load() {
					t.Error("went on before the keys were in force")
				}
				time.Sleep(2 * time.Second)
				begun := time.Now()
				if s.Await(t.Context(), nil); time.Since(begun) != 0 {
					t.Error("waits for keys that are in force")
				}
			})
		})
	}
}
