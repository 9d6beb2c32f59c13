package server_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
)

// The row of a credential from before it was rotated is not shown to a backend, even if
// the database's count of changes was raised with it.
//
// Holds: local/credential-older
func TestOlderCredentialRow(t *testing.T) {
	t.Parallel()
	shown := make(chan string, 10)
	upstream := newTLSUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		shown <- r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{}`)
	})
	g, api := withKEK(t, servertest.Options{Files: map[string]string{"up.crt": upstream.CA}, Config: func(yaml string) string {
		return strings.Replace(yaml, "    keys:", "    tools: {allow: [\"*\"]}\n    keys:", 1) + `
highWaterMark: marks.json
egress: {allow: [127.0.0.0/8], caFile: up.crt}
tools: {http: [{name: get, description: d, credential: main, request: {url: "` + upstream.URL + `/"}}]}
`
	}})
	call := func() int {
		t.Helper()
		res := ask(t, g.Client(g.Cert("acme")), http.MethodPost, g.URL+"/tool/get/call", `{}`, jwtOf(g.Key("acme")))
		bodyOf(res)
		return res.StatusCode
	}
	o := &olderGate{Gate: g, t: t, dir: filepath.Join(g.Dir, "state")}
	api("POST", "/api/credentials", `{"name":"main","type":"ApiKey","value":"first","tenantId":"acme"}`)
	if status := call(); status != 200 || <-shown != "Bearer first" {
		t.Fatalf("a call: %d", status)
	}
	o.execute(`CREATE TABLE before AS SELECT * FROM credentials`)
	if status, body, _ := api("PATCH", "/api/credentials/1", `{"value":"second"}`); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if status := call(); status != 200 || <-shown != "Bearer second" {
		t.Fatalf("a call after it was rotated: %d", status)
	}
	if !servertest.WaitFor(func() bool {
		data, _ := os.ReadFile(filepath.Join(g.Dir, "marks.json"))
		return strings.Contains(string(data), `"credential/1":2`) && strings.Contains(string(data), `"proof"`)
	}, 10*time.Second) {
		t.Fatal("the mark does not follow")
	}
	o.execute(`DELETE FROM credentials`, `INSERT INTO credentials SELECT * FROM before`,
		`UPDATE state_generation SET generation = generation + 100`)
	if status := call(); status != 503 {
		t.Errorf("a call with the older row: %d", status)
	}
	select {
	case got := <-shown:
		t.Errorf("the backend was shown %q", got)
	default:
	}
}
