package stepca_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/devca"
	"github.com/sangate/sangate/pki/stepca"
	"github.com/sangate/sangate/pki/stepca/steptest"
)

// An authority is what the tests need of either kind of CA.
type authority struct {
	url, fingerprint string
	rootPEM          []byte
	token            func(subject string, sans ...string) string
}

// lifetimes both kinds of CA can be told.
type lifetimes struct {
	validity    time.Duration
	afterExpiry bool
}

// authorities are the CA in this process and the one that users run.
var authorities = map[string]func(testing.TB, lifetimes) authority{
	"devca": func(t testing.TB, l lifetimes) authority {
		ca := startDev(t, l)
		return authority{ca.URL(), ca.Fingerprint(), ca.RootPEM(), func(subject string, sans ...string) string {
			t.Helper()
			token, err := ca.Token(subject, sans...)
			if err != nil {
				t.Fatal(err)
			}
			return token
		}}
	},
	"step-ca": func(t testing.TB, l lifetimes) authority {
		ca := steptest.Start(t, steptest.Options{
			Default: l.validity, Min: l.validity, Max: l.validity, AllowRenewalAfterExpiry: l.afterExpiry,
		})
		return authority{ca.URL, ca.Fingerprint, ca.RootPEM, ca.Token}
	},
}

func startDev(t testing.TB, l lifetimes) *devca.CA {
	t.Helper()
	ln := listen(t)
	ca, err := devca.Open(t.TempDir(), "https://"+ln.Addr().String(), devca.Options{
		Default: l.validity, AllowRenewalAfterExpiry: l.afterExpiry,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ca.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return ca
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func (a authority) client(t testing.TB) *stepca.Client {
	t.Helper()
	c, err := stepca.New(a.url, stepca.Options{Fingerprint: a.fingerprint})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// within waits until is holds, which must be soon.
func within(t testing.TB, what string, is func() bool) {
	t.Helper()
	end := time.Now().Add(30 * time.Second)
	for !is() {
		if time.Now().After(end) {
			t.Fatalf("waited too long: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
