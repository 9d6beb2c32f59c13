package doctor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sangate/sangate/docs"
	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/doctor"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/steps"
)

// A world is a gate and a client of acme's that gets in.
type world struct {
	*testing.T
	*servertest.Gate
	issuer *servertest.Issuer
	inter  *pkitest.CA // below the gate's CA
	dir    string      // of the client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	issuer := servertest.NewIssuer(t)
	w := &world{T: t, issuer: issuer, dir: t.TempDir()}
	w.Gate = servertest.Start(t, servertest.Options{
		Files: map[string]string{"denylist": "# nobody\n"},
		Config: func(yaml string) string {
			yaml = strings.Replace(yaml, "clientCA:", "revocation: {denylist: denylist}, clientCA:", 1)
			return yaml + issuer.Config("tenantClaim: tenant", "scopes: [MCP.Call]") +
				"  - {name: gone, issuer: \"https://127.0.0.1:1\", audiences: [gate], tenantClaim: tenant}\n"
		},
	})
	w.inter = w.CA.Intermediate(t, "Test Intermediate", nil)
	return w
}

// client returns what a client has that gets in.
func (w *world) client() *doctor.Options {
	w.Helper()
	o := &doctor.Options{URL: w.URL, CA: []string{filepath.Join(w.Dir, "ca.crt")}, Token: new(w.Key("acme"))}
	w.show(o, w.Gate.Cert("acme"))
	return o
}

// show has the client show another certificate.
func (w *world) show(o *doctor.Options, c *pkitest.Cert) {
	w.Helper()
	o.Files.Cert, o.Files.Key = c.Write(w, w.dir, "client")
}

// serve has the gate show another certificate.
func (w *world) serve(c *pkitest.Cert) {
	w.Helper()
	w.Change("certificate", func() {
		w.Write("server.crt", c.CertPEM())
		w.Write("server.key", c.KeyPEM(w))
	})
}

func (w *world) examine(o *doctor.Options) *doctor.Report {
	w.Helper()
	r, err := doctor.Examine(w.Context(), *o)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func told(r *doctor.Report) string {
	var b strings.Builder
	for _, s := range r.Steps {
		b.WriteString(s.Name + ": " + s.Outcome + ": " + strings.Join(s.Detail, "\n\t") + "\n")
	}
	return b.String()
}

// Each broken set-up is named, in the right step, told with what is needed to mend
// it; and once that is done, nothing is wrong any more.
func TestBroken(t *testing.T) {
	w := newWorld(t)
	if r := w.examine(w.client()); !r.Good {
		t.Fatalf("a good client: %s\n%s", r.Finding, told(r))
	}
	seen := map[string]bool{}
	for _, b := range broken {
		t.Run(b.name, func(t *testing.T) {
			w := &world{t, w.Gate, w.issuer, w.inter, t.TempDir()}
			o := w.client()
			mend := b.by(w, o)
			r := w.examine(o)
			seen[r.Finding] = true
			if r.Good || r.Finding != b.finding || r.Means == "" || r.Do == "" {
				t.Errorf("found %q (%q, %q), want %s\n%s", r.Finding, r.Means, r.Do, b.finding, told(r))
			}
			i := slices.IndexFunc(r.Steps, func(s steps.Step) bool { return s.Outcome == steps.Wrong })
			if i < 0 || r.Steps[i].Name != b.step || !regexp.MustCompile(b.tells).MatchString(strings.Join(r.Steps[i].Detail, "\n")) {
				t.Errorf("it does not tell %q in step %s\n%s", b.tells, b.step, told(r))
			}
			if text := told(r); !strings.Contains(text, alike[b.name]) {
				t.Errorf("it does not tell of %s\n%s", alike[b.name], text)
			}
			for _, secret := range append(secrets(o.Token), w.Key("acme"), "PRIVATE KEY-") {
				if strings.Contains(fmt.Sprintf("%+v", r), secret) {
					t.Errorf("%q is told\n%+v", secret, r)
				}
			}
			mend()
			if r := w.examine(o); !r.Good {
				t.Errorf("mended, and yet %s\n%s", r.Finding, told(r))
			}
		})
	}
	page, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, heading := range regexp.MustCompile(`(?m)^## (.+)$`).FindAllSubmatch(page, -1) {
		if e, _ := docs.Reason(string(heading[1])); e.Gate == "" {
			t.Errorf("docs/doctor.md does not say of %s what the gate shows", heading[1])
		}
		if !seen[string(heading[1])] {
			t.Errorf("docs/doctor.md has %s, which no broken set-up leads to", heading[1])
		}
	}
}

// secrets are what of a token nobody may read in a report: the whole of it, the
// second half of a key, the payload and signature of a JWT.
func secrets(token *string) []string {
	if token == nil || len(*token) < 12 {
		return nil // nothing, or no more than a slip
	}
	parts := []string{*token, (*token)[len(*token)/2:]}
	if jwt := strings.Split(*token, "."); len(jwt) == 3 {
		parts = append(parts, jwt[1], jwt[2])
	}
	return slices.DeleteFunc(parts, func(s string) bool { return s == "" })
}

// What cannot be used at all is an error.
func TestUnusable(t *testing.T) {
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(ca, pkitest.NewCA(t, "ca").PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []doctor.Options{
		{URL: "https://127.0.0.1", CA: []string{filepath.Join(dir, "absent")}},
		{URL: "https://127.0.0.1"},
		{URL: "127.0.0.1:8443", CA: []string{ca}},
		{URL: "ftp://127.0.0.1", CA: []string{ca}},
		{URL: "https://user@127.0.0.1", CA: []string{ca}},
		{URL: "https://:8443", CA: []string{ca}},
		{URL: "https://127.0.0.1:99999", CA: []string{ca}},
		{URL: "https://127.0.0.1:0", CA: []string{ca}},
	} {
		if r, err := doctor.Examine(t.Context(), o); err == nil {
			t.Errorf("%+v: %+v", o, r)
		}
	}
}
