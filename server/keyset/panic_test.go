package keyset_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/pki/contain"
	"github.com/sangate/sangate/server/keyset"
)

// A panickingTransport stands for what reads an issuer's bytes and panics.
type panickingTransport struct{}

func (panickingTransport) RoundTrip(*http.Request) (*http.Response, error) { panic("broken") }

// TestPanicFailsOneFetch holds that a panic while keys are fetched is a failed fetch:
// nobody waits for it, and it is made again.
//
// Holds: authority/panic-contained
func TestPanicFailsOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failures []error
		s, err := keyset.New(keyset.Options{Issuer: "https://issuer.example", Now: time.Now,
			Client:    &http.Client{Transport: panickingTransport{}},
			OnRefresh: func(err error) { failures = append(failures, err) }})
		if err != nil {
			t.Fatal(err)
		}
		go s.Run(t.Context())
		s.Await(t.Context(), nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(failures) < 2 || !errors.Is(failures[0], contain.ErrPanicked) {
			t.Errorf("failures %v, want two or more that wrap ErrPanicked", failures)
		}
	})
}
