package api

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki"
	lists "github.com/sangate/sangate/pki/revocation"
	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/store"
)

// A desk has every handler that reads a body, over a real store.
type desk struct {
	store       *store.Store
	vault       *credential.Vault
	revocations *Revocations
	keys        *Keys
	credentials *Credentials
	log         bytes.Buffer
}

func newDesk(f *testing.F) *desk {
	dir, err := os.MkdirTemp("", "desk") // f.TempDir is not there in a worker
	if err != nil {
		f.Fatal(err)
	}
	d := new(desk)
	if d.store, err = store.Open(context.Background(), dir, store.Options{}); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = d.store.Close(); _ = os.RemoveAll(dir) })
	log := slog.New(slog.NewTextHandler(&d.log, nil))
	d.vault = credential.New(d.store, "file:"+filepath.Join(dir, "kek"), slog.New(slog.DiscardHandler))
	if _, _, err := d.vault.Init(context.Background()); err != nil {
		f.Fatal(err)
	}
	changed := func(context.Context) error { return nil }
	audit := func(*http.Request, string, string) {}
	recheck := func(*http.Request) error { return nil }
	knows := func(tenant string) bool { return tenant == "acme" }
	const most = 4 << 10
	d.revocations = &Revocations{Store: d.store, Changed: changed, Audit: audit, Recheck: recheck, Log: log,
		MaxBody: most,
		Vet: func(_ *http.Request, entry string) error {
			list, err := denylist(entry)
			if err == nil && list.Len() != 1 {
				err = ErrEmpty
			}
			return err
		}}
	d.keys = &Keys{Store: d.store, Configured: func() []apikey.Entry { return nil }, Knows: knows, Changed: changed,
		Audit: audit, Recheck: recheck, Log: log, Now: time.Now, MaxBody: most}
	d.credentials = &Credentials{Vault: func() *credential.Vault { return d.vault }, Knows: knows,
		Uses: func(credential.Info) []string { return nil }, Changed: func(int64) {},
		Audit: audit, Recheck: recheck, Log: log, MaxBody: most}
	return d
}

// denylist reads entries, one a line.
func denylist(lines ...string) (*lists.Denylist, error) {
	rule := func(string) (func(pki.SAN) bool, error) { return func(pki.SAN) bool { return false }, nil }
	return lists.ParseDenylist(strings.NewReader(strings.Join(lines, "\n")), "entries", rule)
}

// FuzzBodies gives the bodies of changes. Each is made whole or refused as the client's
// mistake, what is kept of it can be listed, and a value is in no answer and no log line.
//
// Holds: admin/change-body
func FuzzBodies(f *testing.F) {
	for _, body := range []string{
		`{"entry":"san:uri:spiffe://example.org/a","comment":"lost"}`, `{"entry":"serial:00","comment":"\u2028"}`,
		`{"entry":"sha256:` + strings.Repeat("ab", 32) + ` # more"}`, `{"entry":" serial:01 "}`, `{"entry":""}`,
		`{"entry":"serial:1\nserial:2"}`,
		`{"tenant":"acme","description":"ci","lifetime":"24h"}`, `{"tenant":"globex"}`,
		`{"tenant":"acme","lifetime":"-1h"}`,
		`{"tenant":"acme","lifetime":"2562047h47m16s"}`, `{"tenant":"acme","san":"uri:spiffe://example.org/*"}`,
		`{"entry":"serial:1"}`,
		`{"name":"zendesk","type":"ApiKey","value":"fuzz-value-1","tenantId":"acme"}`,
		`{"name":"z","type":"Basic","value":"user:fuzz-value-2"}`,
		`{"name":"o","type":"OAuth2","value":"{\"tokenUrl\":\"https://a.example\",` +
			`\"clientId\":\"a\",\"clientSecret\":\"fuzz-value-3\"}"}`,
		`{"name":"x","type":"ApiKey","value":"a\r\nHost: b","header":"Host"}`,
		`{"name":"a","name":"b"}`, `{"more":1}`, `{}`, `[]`, `null`, ``, `{"entry":"` + "\xff" + `"}`,
		strings.Repeat("[", 4000),
	} {
		for kind := range byte(3) {
			f.Add(kind, []byte(body))
		}
	}
	d := newDesk(f)
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		d.log.Reset()
		handler := []http.HandlerFunc{d.revocations.Add, d.keys.Mint, d.credentials.Add}[kind%3]
		asks := &auth.Decision{Principal: auth.Principal{SAN: "admin", Identity: new(pki.Identity)}}
		ctx := auth.WithDecision(context.WithValue(t.Context(), answer.RequestIDKey{}, "ID"), asks)
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/x", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler(w, r)
		if !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%d %q is no JSON", w.Code, w.Body)
		}
		switch w.Code {
		case http.StatusOK, http.StatusCreated:
			d.kept(t, kind%3, body, w.Body.String())
		case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge:
		default:
			t.Fatalf("%d %s; the log: %s", w.Code, w.Body, &d.log)
		}
	})
}

// kept holds what is stored against what was sent, and takes it out again.
func (d *desk) kept(t *testing.T, kind byte, body []byte, told string) {
	if bytes.Count(d.log.Bytes(), []byte("\n")) > 1 {
		t.Errorf("more than a line of log: %s", &d.log)
	}
	switch kind {
	case 0:
		list, err := d.store.Revocations(t.Context())
		if err != nil || len(list) != 1 {
			t.Fatalf("%d revocations are kept, %v", len(list), err)
		}
		before, after := "sha256:"+strings.Repeat("b7", 32), "sha256:"+strings.Repeat("c9", 32)
		if parsed, err := denylist(before, list[0].Entry, after); err != nil || parsed.Len() != 3 {
			t.Errorf("%q is no entry of a denylist: %v", list[0].Entry, err)
		}
		if _, err := d.store.DeleteRevocation(t.Context(), list[0].ID); err != nil {
			t.Fatal(err)
		}
	case 1:
		list, err := d.store.Keys(t.Context())
		if err != nil || len(list) == 0 {
			t.Fatalf("%d keys are kept, %v", len(list), err)
		}
		var minted struct{ ID, Key string }
		err = json.Unmarshal([]byte(told), &minted)
		if err != nil || minted.Key == "" || strings.Contains(d.log.String(), minted.Key) {
			t.Errorf("minted %s; the log: %s", minted.ID, &d.log)
		}
	case 2:
		var sent struct{ Value string }
		if err := json.Unmarshal(body, &sent); err != nil {
			t.Fatalf("taken, and encoding/json does not read it: %v", err)
		}
		list, err := d.vault.List(t.Context())
		if err != nil || len(list) != 1 {
			t.Fatalf("%d credentials are kept, %v", len(list), err)
		}
		secret, err := d.vault.Resolve(t.Context(), credential.Ref{ID: list[0].ID})
		if err != nil || secret.Value != sent.Value {
			t.Errorf("what is kept is not what was sent: %v", err)
		}
		asName := strings.Contains(list[0].Name+list[0].Description, sent.Value) // the client's own doing
		if len(sent.Value) > 8 && !asName && strings.Contains(told+d.log.String(), sent.Value) {
			t.Errorf("the value is told: %s; the log: %s", told, &d.log)
		}
		if _, err := d.vault.Delete(t.Context(), list[0].ID, 0); err != nil {
			t.Fatal(err)
		}
	}
}
