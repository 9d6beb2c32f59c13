package credential_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/credential"
)

func TestFiles(t *testing.T) {
	// As Kubernetes mounts a secret: links by way of ..data.
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("..1/55", "s3cret\n")
	write("..2/55", "rotated\n")
	write("..1/acme/zendesk", `{"type":"Basic","value":"a@b.c/token:k"}`)
	link := func(to string) {
		t.Helper()
		os.Remove(filepath.Join(dir, "..data"))
		if err := os.Symlink(to, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	link("..1")
	os.Symlink("..data/55", filepath.Join(dir, "55"))
	os.Symlink("..data/acme", filepath.Join(dir, "acme"))
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("would-be-a-key"), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Symlink(outside, filepath.Join(dir, "66"))
	write("77", `{"type":"ApiKey","val":"hunter2"}`)

	f := credential.Files{Dir: dir}
	if got := resolved(t, f, 55); got != "s3cret" {
		t.Errorf("55 is %q", got)
	}
	s, err := f.Resolve(t.Context(), credential.Ref{Tenant: "acme", Name: "zendesk"})
	if err != nil || s.Type != credential.Basic || s.Value != "a@b.c/token:k" || s.Tenant != "acme" {
		t.Errorf("by name: %v, %v", s, err)
	}
	link("..2")
	if got := resolved(t, f, 55); got != "rotated" {
		t.Errorf("swapped: %q", got)
	}
	for _, ref := range []credential.Ref{{ID: 56}, {Name: "../55"}, {Tenant: "globex", Name: "zendesk"}, {Tenant: "..", Name: "x"}} {
		if s, err := f.Resolve(t.Context(), ref); !errors.Is(err, credential.ErrCredentialNotFound) {
			t.Errorf("%s: %v, %v", ref, s, err)
		}
	}
	for _, id := range []int64{66, 77} {
		_, err := f.Resolve(t.Context(), credential.Ref{ID: id})
		if err == nil || strings.Contains(err.Error(), "hunter2") || errors.Is(err, credential.ErrCredentialNotFound) {
			t.Errorf("%d: %v", id, err)
		}
	}
	// What the first does not know, the next may; what it cannot say, no other does.
	chain := credential.Chain{credential.Files{Dir: t.TempDir()}, f}
	if got := resolved(t, chain, 55); got != "rotated" {
		t.Errorf("through the chain: %q", got)
	}
	if _, err := (credential.Chain{credential.Files{Dir: dir + "/gone"}, credential.Files{Dir: dir + "/66"}, f}).Resolve(t.Context(), credential.Ref{ID: 55}); !errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("past one that cannot be read: %v", err)
	}
}

func TestRemote(t *testing.T) {
	value, asked, now := "one", 0, time.Now()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch {
		case r.Header.Get("Authorization") != "Bearer gate":
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path == "/api/credentials/55":
			fmt.Fprintf(w, `{"credentialId":55,"name":"z","type":"ApiKey","value":%q,"version":3,"more":{}}`, value)
		case r.URL.Path == "/api/credentials/56":
			fmt.Fprint(w, `{"credentialId":55,"type":"ApiKey","value":"hunter2"}`)
		case r.URL.Path == "/api/credentials/57":
			fmt.Fprint(w, `hunter2`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer srv.Close()
	token := "gate"
	r := &credential.Remote{URL: srv.URL + "/api/credentials", Client: srv.Client(), Token: func() (string, error) { return token, nil },
		Hold: time.Minute, Now: func() time.Time { return now }}
	if got := resolved(t, r, 55); got != "one" {
		t.Fatalf("resolved %q", got)
	}
	value = "two"
	if got := resolved(t, r, 55); got != "one" || asked != 1 {
		t.Errorf("within the time: %q, asked %d times", got, asked)
	}
	r.Forget(55)
	if got := resolved(t, r, 55); got != "two" {
		t.Errorf("forgotten: %q", got)
	}
	value, now = "three", now.Add(time.Hour)
	if got := resolved(t, r, 55); got != "three" {
		t.Errorf("an hour later: %q", got)
	}
	if _, err := r.Resolve(t.Context(), credential.Ref{ID: 58}); !errors.Is(err, credential.ErrCredentialNotFound) || !strings.Contains(err.Error(), "58") {
		t.Errorf("unknown: %v", err)
	}
	for _, id := range []int64{56, 57} {
		if _, err := r.Resolve(t.Context(), credential.Ref{ID: id}); !errors.Is(err, credential.ErrUnavailable) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%d: %v", id, err)
		}
	}
	token, now = "wrong", now.Add(time.Hour)
	if _, err := r.Resolve(t.Context(), credential.Ref{ID: 55}); !errors.Is(err, credential.ErrUnavailable) || !strings.Contains(err.Error(), "403") {
		t.Errorf("refused: %v", err)
	}
}

func TestAuthorize(t *testing.T) {
	now, granted := time.Now(), 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		w.Header().Set("Content-Type", "application/json")
		if id != "gate" || secret != "hunter2" || r.PostFormValue("grant_type") != "client_credentials" || r.PostFormValue("scope") != "a b" || r.PostFormValue("audience") != "api" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"invalid_client","error_description":"hunter2 is wrong"}`)
			return
		}
		granted++
		fmt.Fprintf(w, `{"access_token":"t%d","token_type":"Bearer","expires_in":300}`, granted)
	}))
	defer srv.Close()
	a := credential.NewAuthorizer(srv.Client(), func() time.Time { return now })
	oauth := func(secret string) *credential.Secret {
		return &credential.Secret{ID: 1, Type: credential.OAuth2, Value: fmt.Sprintf(`{"tokenUrl":%q,"clientId":"gate","clientSecret":%q,"scopes":["a","b"],"audience":"api"}`, srv.URL, secret)}
	}
	header := func(s *credential.Secret) http.Header {
		t.Helper()
		h := make(http.Header)
		if err := a.Authorize(t.Context(), s, h); err != nil {
			t.Fatal(err)
		}
		return h
	}
	if got := header(&credential.Secret{Type: credential.APIKey, Value: "k"}).Get("Authorization"); got != "Bearer k" {
		t.Errorf("ApiKey: %q", got)
	}
	if h := header(&credential.Secret{Type: credential.APIKey, Header: "X-Api-Key", Value: "k"}); h.Get("X-Api-Key") != "k" || len(h) != 1 {
		t.Errorf("ApiKey in a header: %v", h)
	}
	if got := header(&credential.Secret{Type: credential.Basic, Value: "u:p"}).Get("Authorization"); got != "Basic dTpw" {
		t.Errorf("Basic: %q", got)
	}
	for step, want := range []string{"Bearer t1", "Bearer t1", "Bearer t2", "Bearer t3"} {
		switch step {
		case 2:
			now = now.Add(295 * time.Second) // near its end
		case 3:
			now = time.Now() // the one from the step before is good for long
			if got := header(oauth("hunter2")).Get("Authorization"); got != "Bearer t2" {
				t.Errorf("OAuth2, held: %q", got)
			}
			a.Forget(oauth("hunter2"))
		}
		if got := header(oauth("hunter2")).Get("Authorization"); got != want {
			t.Errorf("OAuth2, step %d: %q, want %q", step, got, want)
		}
	}
	// Another secret does not live off the token of the one before.
	err := a.Authorize(t.Context(), oauth("wrong"), make(http.Header))
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "401: invalid_client") {
		t.Errorf("a wrong secret: %v", err)
	}
}

func TestKMSKEK(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kek.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600); err != nil {
		t.Fatal(err)
	}
	kek, err := credential.OpenKEK(t.Context(), "softkms:path="+file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer kek.Close()
	wrapped, err := kek.EncryptWithContext(t.Context(), []byte("keys"), []byte("for"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := kek.DecryptWithContext(t.Context(), wrapped, []byte("for")); err != nil || string(got) != "keys" {
		t.Errorf("unwrapped %q, %v", got, err)
	}
	for name, bad := range map[string][]byte{"empty": nil, "cut": wrapped[:100], "turned": append([]byte{1, 0, 1}, wrapped[3:]...), "of another kind": append([]byte{9}, wrapped[1:]...)} {
		if _, err := kek.DecryptWithContext(t.Context(), bad, []byte("for")); err == nil {
			t.Errorf("%s: opens", name)
		}
	}
	if _, err := kek.DecryptWithContext(t.Context(), wrapped, []byte("else")); err == nil {
		t.Error("opens for something else")
	}
}
