package server_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/store"
)

// The tests of scale take a minute and more memory than the race detector leaves:
// `make scale` runs them without it.
func atScale(t *testing.T) {
	t.Helper()
	if pkitest.Race || testing.Short() {
		t.Skip("by make scale, without the race detector")
	}
}

// rounds is n, or a fifth of it under the race detector: `make scale` runs all of them
// without it, in less time.
func rounds(n int) int {
	if pkitest.Race {
		return n / 5
	}
	return n
}

// many is how many tenants there are.
const many = 100_000

// whoIs asks the gate who it takes a caller for.
func whoIs(t *testing.T, g *servertest.Gate, uri, key string) (status int, answer string) {
	t.Helper()
	c := g.Client(g.CA.Issue(t, pkitest.Leaf{URIs: []string{uri}}), servertest.HTTP1)
	defer c.CloseIdleConnections()
	res := ask(t, c, http.MethodPost, g.URL+"/tool/whoami/call", "{}", asJSON, "Authorization: Bearer "+key)
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// keyOf is the same for one tenant each time it is asked, so that no list of a
// hundred thousand is needed.
func keyOf(t *testing.T, i int) (key string, e apikey.Entry) {
	t.Helper()
	key = fmt.Sprintf("key-of-tenant-%d-and-long-enough", i)
	return key, apikey.Entry{ID: fmt.Sprintf("k%d", i), Tenant: fmt.Sprintf("t%d", i), Digest: sha256.Sum256([]byte(key))}
}

// A hundred thousand tenants, each with a rule and a key of its own, are told apart,
// and a change of one of them is taken like any other.
func TestScaleTenantsByRule(t *testing.T) {
	atScale(t)
	var b strings.Builder
	for i := range many {
		_, e := keyOf(t, i)
		fmt.Fprintf(&b, "  - {id: t%d, sans: [\"uri:spiffe://example.org/many/t%[1]d/*\"], keys: [{id: %s, sha256: \"%x\"}]}\n", i, e.ID, e.Digest)
	}
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string { return yaml + b.String() }})
	for _, i := range []int{0, 1, 17, many / 2, many - 1} {
		key, _ := keyOf(t, i)
		other, _ := keyOf(t, (i+1)%many)
		uri := fmt.Sprintf("spiffe://example.org/many/t%d/agent", i)
		if status, answer := whoIs(t, g, uri, key); status != 200 || !strings.Contains(answer, fmt.Sprintf(`"tenant":"t%d"`, i)) {
			t.Errorf("t%d: %d %s", i, status, answer)
		}
		if status, answer := whoIs(t, g, uri, other); status != 403 {
			t.Errorf("t%d with its neighbour's key: %d %s", i, status, answer)
		}
	}
	key, _ := keyOf(t, 0)
	if status, _ := whoIs(t, g, fmt.Sprintf("spiffe://example.org/many/t%d/agent", many), key); status != 403 {
		t.Errorf("a tenant that is not there: %d", status)
	}
	g.Write("sangate.yaml", bytes.Replace(mustRead(t, g, "sangate.yaml"), []byte("id: t17,"), []byte("id: t17, enabled: false,"), 1))
	key, _ = keyOf(t, 17)
	if !servertest.WaitFor(func() bool {
		status, _ := whoIs(t, g, "spiffe://example.org/many/t17/agent", key)
		return status == 403
	}, time.Minute) {
		t.Error("one of a hundred thousand is disabled, and goes on")
	}
}

// A hundred thousand tenants of one rule, each with a key in the store: all are told
// apart, and none leaves a metric series behind.
func TestScaleTenantsByCapture(t *testing.T) {
	atScale(t)
	dir := t.TempDir()
	s, err := store.Open(t.Context(), filepath.Join(dir, "state"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range many {
		_, e := keyOf(t, i)
		if err := s.AddKey(t.Context(), e, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return strings.Replace(yaml, "state: state", "state: "+filepath.Join(dir, "state"), 1) + "  - {id: \"{who}\", sans: [\"uri:spiffe://example.org/fleet/{who}/*\"]}\n"
	}})
	call := func(i int) {
		t.Helper()
		key, _ := keyOf(t, i)
		if status, answer := whoIs(t, g, fmt.Sprintf("spiffe://example.org/fleet/t%d/agent", i), key); status != 200 || !strings.Contains(answer, fmt.Sprintf(`"tenant":"t%d"`, i)) {
			t.Fatalf("t%d: %d %s", i, status, answer)
		}
	}
	call(0)
	series := g.Series()
	for i := range 500 {
		call(many - 1 - i*199)
	}
	if got := g.Series(); got != series {
		t.Errorf("%d metric series, %d before: each tenant leaves some", got, series)
	}
	key, _ := keyOf(t, 3)
	if status, _ := whoIs(t, g, "spiffe://example.org/fleet/t4/agent", key); status != 403 {
		t.Errorf("t4 with the key of t3: %d", status)
	}
}

// serialAt is one of a million, far apart from each other.
func serialAt(i int) *big.Int {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	sum[0] = 0x40
	return new(big.Int).SetBytes(sum[:16])
}

// A million revoked certificates, in a list of the CA's and in a denylist: one of
// them is refused, the others are served, and so is the first after another list.
func TestScaleRevoked(t *testing.T) {
	atScale(t)
	const revoked = 1_000_000
	for _, kind := range []string{"crl", "denylist"} {
		t.Run(kind, func(t *testing.T) {
			g := servertest.Start(t, servertest.Options{})
			out, in := g.Cert("acme"), g.Cert("acme")
			serials := func(yield func(*big.Int) bool) {
				for i := range revoked - 1 {
					if !yield(serialAt(i)) {
						return
					}
				}
				yield(out.Leaf.SerialNumber)
			}
			if kind == "crl" {
				list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(24 * time.Hour)}
				for serial := range serials {
					list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: time.Now()})
				}
				der, err := x509.CreateRevocationList(rand.Reader, list, g.CA.Cert, g.CA.Key())
				if err != nil {
					t.Fatal(err)
				}
				g.Write("revoked", der)
			} else {
				var b bytes.Buffer
				for serial := range serials {
					fmt.Fprintf(&b, "serial:%x\n", serial)
				}
				g.Write("revoked", b.Bytes())
			}
			key := map[string]string{"crl": "crl: [revoked]", "denylist": "denylist: revoked"}[kind]
			g.Write("sangate.yaml", bytes.Replace(mustRead(t, g, "sangate.yaml"), []byte("clientCA:"), []byte("revocation: {"+key+"}, clientCA:"), 1))
			token := "Authorization: Bearer " + g.Key("acme")
			c := g.Client(out)
			if !servertest.WaitFor(func() bool {
				res, err := try(t, c, http.MethodGet, g.URL+"/tools", "", token)
				return err != nil || res.StatusCode == 401
			}, time.Minute) {
				t.Fatal("the last of a million is served")
			}
			if _, err := try(t, g.Client(out), http.MethodGet, g.URL+"/tools", "", token); err == nil {
				t.Error("its handshake is good")
			}
			if res := ask(t, g.Client(in), http.MethodGet, g.URL+"/tools", "", token); res.StatusCode != 200 {
				t.Errorf("one that is not revoked: %s", res.Status)
			}
		})
	}
}
