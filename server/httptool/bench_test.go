package httptool_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/egress"
	"github.com/sangate/sangate/server/httptool"
	"github.com/sangate/sangate/server/store"
)

// BenchmarkCall shows what a call through a declared tool costs over the bare
// exchange, in turns: the gate's own time is the difference. The secret comes out
// of the real store each time.
func BenchmarkCall(b *testing.B) {
	answer := []byte(`{"ticket":{"id":35436,"subject":"printer on fire","status":"open","priority":"urgent","tags":["a","b"]}}`)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	}))
	defer srv.Close()
	dir := b.TempDir()
	st, err := store.Open(b.Context(), dir, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	vault := credential.New(st, "file:"+dir+"/kek", slog.New(slog.DiscardHandler))
	_, _, initErr := vault.Init(b.Context())
	_, addErr := vault.Add(b.Context(), &credential.Secret{Name: "c", Tenant: "acme", Type: credential.Basic, Value: "u:p"}, "", "")
	if err := errors.Join(initErr, addErr); err != nil {
		b.Fatal(err)
	}
	tl := madeWith(b, httptool.Definition{Credential: "c", Input: json.RawMessage(`{"type":"object","additionalProperties":false,"required":["id"],"properties":{"id":{"type":"integer","minimum":1}}}`),
		Request: httptool.Request{URL: srv.URL + "/api/v2/tickets/{args.id}.json", Query: map[string]string{"include": `"users"`}}, Response: "response.body.ticket"},
		vault)
	client := egress.New(egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}).Client(egress.Target{HTTP2: true})
	defer client.CloseIdleConnections()
	bare := func() time.Duration {
		start := time.Now()
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, srv.URL+"/api/v2/tickets/35436.json?include=users", nil)
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Basic dTpw")
		res, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadAll(res.Body); err != nil {
			b.Fatal(err)
		}
		_ = res.Body.Close()
		return time.Since(start)
	}
	whole := func() time.Duration {
		start := time.Now()
		if _, err := run(b, tl, `{"id":35436}`); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	var took, without []time.Duration
	for b.Loop() {
		took, without = append(took, whole()), append(without, bare())
	}
	b.ReportMetric(0, "ns/op") // of both: says nothing
	b.ReportMetric(float64(median(took).Nanoseconds())/1e3, "µs/call")
	b.ReportMetric(float64(median(without).Nanoseconds())/1e3, "µs/bare")
	b.ReportMetric(float64((median(took)-median(without)).Nanoseconds())/1e3, "µs/own")
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}
