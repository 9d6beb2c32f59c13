package stepca_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/pki/stepca"
	"github.com/sangate/sangate/pki/stepca/steptest"
)

// free returns a loopback port nothing listens on just now.
func free(t testing.TB) int {
	t.Helper()
	ln := listen(t)
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

func write(t testing.TB, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func realClient(t testing.TB, ca *steptest.CA) *stepca.Client {
	t.Helper()
	c, err := stepca.New(ca.URL, stepca.Options{Fingerprint: ca.Fingerprint})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every way to enrol, at the real step-ca.
func TestWays(t *testing.T) {
	t.Parallel()
	own := pkitest.NewCA(t, "fleet")
	identity := newPair(t, own, pkitest.Leaf{CommonName: "machine-7", DNS: []string{"machine-7.internal"}})
	x5c := pairFiles(t)
	if err := x5c.Save(identity); err != nil {
		t.Fatal(err)
	}
	httpPort, tlsPort := free(t), free(t)
	ca := steptest.Start(t, steptest.Options{X5CRoots: own.PEM(), ACMEHTTP: httpPort, ACMETLS: tlsPort})
	c := realClient(t, ca)
	dir := t.TempDir()
	onHTTP := fmt.Sprintf("127.0.0.1:%d", httpPort)
	acme := stepca.ACME{Client: c, Provisioner: steptest.ACMEProvisioner, AccountFile: filepath.Join(dir, "acme", "account.key"), Contact: "ops@example.org"}
	viaHTTP, viaTLS, both := acme, acme, acme
	viaHTTP.HTTP = onHTTP
	viaTLS.TLS = fmt.Sprintf("127.0.0.1:%d", tlsPort)
	both.HTTP, both.TLS = viaHTTP.HTTP, viaTLS.TLS

	tests := []struct {
		name string
		way  stepca.Enroller
		sans []string
	}{
		{"one-time token", stepca.NewOneTimeToken(c, write(t, "ott", ca.Token("gate", sans...)+"\n")), sans},
		{"password", stepca.Password{Client: c, Provisioner: steptest.Provisioner, File: write(t, "pw", "not a secret\n")}, sans},
		{"x5c", stepca.X5C{Client: c, Provisioner: steptest.X5CProvisioner, Cert: x5c.Cert, Key: x5c.Key}, sans},
		{"acme http-01", viaHTTP, []string{"localhost", "127.0.0.1"}},
		{"acme tls-alpn-01", viaTLS, []string{"localhost", "127.0.0.1"}},
		{"acme again, same account", both, []string{"localhost"}},
	}
	for _, tt := range tests {
		for _, kind := range []stepca.KeyKind{stepca.ECP256, stepca.RSA2048} {
			if kind != stepca.ECP256 && tt.name == "one-time token" {
				continue
			}
			t.Run(tt.name+" "+kind.String(), func(t *testing.T) {
				pair, err := tt.way.Enrol(t.Context(), stepca.Request{SANs: tt.sans, Subject: subjectOf(tt.sans), Key: kind})
				if err != nil {
					t.Fatal(err)
				}
				if got := sansOf(pair.Leaf()); !slices.Equal(got, tt.sans) {
					t.Errorf("names %q, want %q", got, tt.sans)
				}
				// However it was enrolled, it is renewed by itself.
				if next, err := c.Rekey(t.Context(), pair); err != nil {
					t.Error(err)
				} else if got := sansOf(next.Leaf()); !slices.Equal(got, tt.sans) {
					t.Errorf("names after rekeying %q, want %q", got, tt.sans)
				}
			})
		}
	}
	if info, err := os.Stat(acme.AccountFile); err != nil || info.Mode() != 0o600 {
		t.Errorf("account key: %v, %v", info, err)
	}
	for _, addr := range []string{viaHTTP.HTTP, viaTLS.TLS} {
		if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			conn.Close()
			t.Errorf("still listening on %s", addr)
		}
	}

	t.Run("refusals", func(t *testing.T) { refusals(t, ca, c, viaHTTP) })
}

// subjectOf: the tokens of these tests are for "gate".
func subjectOf(names []string) string {
	if slices.Equal(names, sans) {
		return "gate"
	}
	return ""
}

func refusals(t *testing.T, ca *steptest.CA, c *stepca.Client, acme stepca.ACME) {
	stranger := pairFiles(t)
	if err := stranger.Save(newPair(t, pkitest.NewCA(t, "stranger"), pkitest.Leaf{CommonName: "x"})); err != nil {
		t.Fatal(err)
	}
	late := pairFiles(t)
	if err := late.Save(newPair(t, pkitest.NewCA(t, "late"), pkitest.Leaf{NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(-time.Minute)})); err != nil {
		t.Fatal(err)
	}
	pw := func(provisioner, file string) stepca.Password {
		return stepca.Password{Client: c, Provisioner: provisioner, File: file}
	}
	nowhere, other, silent, taken := acme, acme, acme, acme
	nowhere.HTTP = ""
	other.Provisioner = "none"
	silent.HTTP = "127.0.0.1:0" // not where step-ca asks
	taken.HTTP = listen(t).Addr().String()
	one := []string{"localhost"}
	tests := []struct {
		name string
		way  stepca.Enroller
		sans []string
		want string // in the error
	}{
		{"password: wrong", pw(steptest.Provisioner, write(t, "pw", "hunter2")), one, "does not open its key"},
		{"password: no provisioner", pw("nobody", ca.PasswordFile()), one, "no JWK provisioner of that name"},
		{"password: not a JWK provisioner", pw(steptest.ACMEProvisioner, ca.PasswordFile()), one, "no JWK provisioner of that name"},
		{"password: no file", pw(steptest.Provisioner, "/nonexistent"), one, "/nonexistent"},
		{"password: empty", pw(steptest.Provisioner, write(t, "pw", "\n")), one, "is empty"},
		{"password: no name", pw(steptest.Provisioner, ca.PasswordFile()), nil, "no name"},
		{"x5c: a stranger", stepca.X5C{Client: c, Provisioner: steptest.X5CProvisioner, Cert: stranger.Cert, Key: stranger.Key}, one, "401"},
		{"x5c: expired", stepca.X5C{Client: c, Provisioner: steptest.X5CProvisioner, Cert: late.Cert, Key: late.Key}, one, "has expired"},
		{"x5c: no files", stepca.X5C{Client: c, Provisioner: steptest.X5CProvisioner, Cert: "/nonexistent", Key: "/nonexistent"}, one, "/nonexistent"},
		{"acme: no listener", nowhere, one, "no address"},
		{"acme: no provisioner", other, one, "404"},
		{"acme: not answered", silent, one, "could not verify"},
		{"acme: address in use", taken, one, "in use"},
		{"acme: a URI", acme, []string{"spiffe://example.org/x"}, "only DNS names"},
		{"acme: no name", acme, nil, "no name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.way.Enrol(t.Context(), stepca.Request{SANs: tt.sans})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.ContainsAny(err.Error(), "\n") {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
}

func TestOneTimeTokenIsSpentOnce(t *testing.T) {
	t.Parallel()
	ca := steptest.Start(t, steptest.Options{})
	c := realClient(t, ca)
	file := write(t, "ott", ca.Token("gate"))
	way := stepca.NewOneTimeToken(c, file)

	ca.Stop()                           // what does not reach the authority spends nothing
	time.Sleep(1100 * time.Millisecond) // the token is now of another second than the next start
	if _, err := way.Enrol(t.Context(), stepca.Request{}); err == nil || errors.Is(err, stepca.ErrTokenSpent) {
		t.Fatalf("with the authority down: %v", err)
	}
	ca.Start()
	if _, err := way.Enrol(t.Context(), stepca.Request{}); err != nil {
		t.Fatal(err)
	}
	_, err := way.Enrol(t.Context(), stepca.Request{})
	if !errors.Is(err, stepca.ErrTokenSpent) || !strings.Contains(err.Error(), file) || status(err) != 0 {
		t.Errorf("second time: %v, want ErrTokenSpent without asking", err)
	}
	// A restart forgets, the authority does not.
	if _, err := stepca.NewOneTimeToken(c, file).Enrol(t.Context(), stepca.Request{}); !errors.Is(err, stepca.ErrTokenSpent) || status(err) != 401 {
		t.Errorf("after a restart: %v, want ErrTokenSpent", err)
	}
	if err := os.WriteFile(file, []byte(ca.Token("gate")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := way.Enrol(t.Context(), stepca.Request{}); err != nil {
		t.Errorf("a new token: %v", err)
	}
	old, err := stepca.New(ca.URL, stepca.Options{Fingerprint: ca.Fingerprint, Now: func() time.Time { return time.Now().Add(time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stepca.NewOneTimeToken(old, write(t, "ott", ca.Token("gate"))).Enrol(t.Context(), stepca.Request{}); !errors.Is(err, stepca.ErrTokenSpent) {
		t.Errorf("an hour later: %v", err)
	}
	if _, err := stepca.NewOneTimeToken(c, write(t, "ott", " \n")).Enrol(t.Context(), stepca.Request{}); err == nil {
		t.Error("an empty file enrolled")
	}
}

// An authority that says nothing must not hold up the way by password, nor one
// that pages for ever, nor a directory lead elsewhere.
func TestWaysAreBounded(t *testing.T) {
	ca := pkitest.NewCA(t, "ours")
	password := write(t, "pw", "x")
	pages := 0
	endless := fake(t, ca, func(w http.ResponseWriter, _ *http.Request) {
		pages++
		w.Write([]byte(`{"provisioners":[],"nextCursor":"more"}`))
	}, stepca.Options{})
	if _, err := (stepca.Password{Client: endless, Provisioner: "p", File: password}).Token(t.Context(), "x", nil); err == nil || pages > 50 {
		t.Errorf("%d pages, %v", pages, err)
	}
	hung := fake(t, ca, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, stepca.Options{Timeout: 200 * time.Millisecond})
	ways := map[string]stepca.Enroller{
		"password": stepca.Password{Client: hung, Provisioner: "p", File: password},
		"acme":     stepca.ACME{Client: hung, Provisioner: "p", AccountFile: filepath.Join(t.TempDir(), "k"), HTTP: "127.0.0.1:0"},
	}
	for name, way := range ways {
		if _, err := way.Enrol(t.Context(), stepca.Request{SANs: []string{"x"}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
	elsewhere := fake(t, ca, func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(`{"newNonce":"https://evil.example/n","newAccount":"https://evil.example/a","newOrder":"https://evil.example/o"}`))
	}, stepca.Options{})
	way := stepca.ACME{Client: elsewhere, Provisioner: "p", AccountFile: filepath.Join(t.TempDir(), "k"), HTTP: "127.0.0.1:0"}
	if _, err := way.Enrol(t.Context(), stepca.Request{SANs: []string{"x"}}); err == nil || !strings.Contains(err.Error(), "another host") {
		t.Errorf("directory of another host: %v", err)
	}
}
