package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/tenant"
)

// folder makes a folder with what a whole configuration names: ca.crt,
// server.crt, server.key.
func folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	ca := pkitest.NewCA(t, "Test CA")
	ca.Issue(t, pkitest.Leaf{DNS: []string{"gate.example.org"}}).Write(t, dir, "server")
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// head is the part of a whole configuration before its tenants.
const head = `state: state
tls:
  cert: server.crt
  key: server.key
  clientCA: [ca.crt]
`

const whole = head + `tenants:
  - id: acme
    sans: ["uri:spiffe://example.org/tenant/acme/*"]
`

func revoking(keys string) string {
	return strings.Replace(whole, "tenants:", "  revocation: {"+keys+"}\ntenants:", 1)
}

func workload(keys string) string {
	return strings.Replace(whole, whole[strings.Index(whole, "  cert"):strings.Index(whole, "tenants")], "  spiffe: {"+keys+"}\n", 1)
}

// load writes text as sangate.yaml into dir and loads it. Problems come back as
// "line:col: message".
func load(t *testing.T, dir, text string, overrides ...string) (*Config, []string) {
	t.Helper()
	file := filepath.Join(dir, "sangate.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file, overrides)
	if err == nil {
		return c, nil
	}
	problems, ok := errors.AsType[Problems](err)
	if !ok || c != nil || len(problems) == 0 {
		t.Fatalf("Load = %v, %v (%T); want nil and Problems", c, err, err)
	}
	lines := strings.Split(strings.ReplaceAll(err.Error(), file+":", ""), "\n")
	if len(lines) != len(problems) {
		t.Fatalf("%d problems on %d lines:\n%s", len(problems), len(lines), err)
	}
	return nil, lines
}

func TestLoadWhole(t *testing.T) {
	dir := folder(t)
	c, problems := load(t, dir, whole)
	if problems != nil {
		t.Fatal(problems)
	}
	if c.Listen != "0.0.0.0:8443" || c.TLS.MinVersion != "1.3" || c.Limits.MaxBodyBytes != 1<<20 || c.Limits.MaxHeaderBytes != 32<<10 {
		t.Errorf("defaults: %+v", c)
	}
	if want := filepath.Join(dir, "server.crt"); string(c.TLS.Cert) != want {
		t.Errorf("tls.cert = %q; a relative path is meant from the file's folder: want %q", c.TLS.Cert, want)
	}
	if c.State != Path(filepath.Join(dir, "state")) || c.TLS.ClientCA[0] != Path(filepath.Join(dir, "ca.crt")) {
		t.Errorf("state %q, clientCA %q: not from the file's folder", c.State, c.TLS.ClientCA)
	}
	acme := c.Table.ByID("acme")
	if acme == nil || !acme.Enabled || acme.SecondFactor != tenant.Required {
		t.Errorf("acme = %+v, want enabled with a required second factor", acme)
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	_, got := load(t, folder(t), `listne: 127.0.0.1:1
admin: nowhere
min_version: "1.3"
state: postgres://db
tls:
  cert: server.crt
  Key: server.key
  clientCA: [missing.crt]
  minVersion: "1.1"
tenants:
  - id: Acme
    secondFactor: sometimes
    sans: ["uri:spiffe://example.org/%61"]
  - id: globex
    sans: ["uri:spiffe://example.org/*/x", "urn:x"]
    keys: [{id: k1, sha256: abc}, {id: ""}]
  - id: initech
    enabled: perhaps
    sans: ["uri:spiffe://example.org/b/*"]
  - id: hooli
limits: {maxBodyBytes: 0, toolTimeout: soon}
log: {level: loud, format: [json]}
`)
	want := []string{
		`1:1: unknown key "listne"`,
		`2:8: admin "nowhere": write host:port`,
		`3:1: unknown key "min_version"`,
		`4:8: state "postgres://db": only a folder`,
		`6:3: tls.key is missing`,
		`7:3: unknown key "Key"; write key`,
		`8:13: `, // no such file
		`9:15: tls.minVersion "1.1"`,
		`11:9: tenant Acme: secondFactor "sometimes"`,
		`11:9: tenant id "Acme"`,
		`15:44: SAN rule "urn:x"`,
		`16:29: sha256 of key "k1"`,
		`16:36: a key needs an id`,
		`18:14: "perhaps" is not true or false`,
		`19:12: SAN rule "uri:spiffe://example.org/b/*" of tenant initech and "uri:spiffe://example.org/*/x" of tenant globex`,
		`20:5: tenant "hooli" has no sans`,
		`21:24: limits.maxBodyBytes must be more than 0`,
		`21:40: "soon" is not a duration such as 5s`,
		`22:14: log.level "loud"`,
		`22:28: expected a single value`,
	}
	for i, line := range got {
		if i >= len(want) || !strings.HasPrefix(line, want[i]) {
			t.Errorf("problem %d:\n got %s\nwant %s…", i, line, slices.Concat(want, []string{"nothing more"})[min(i, len(want))])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d problems, want %d", len(got), len(want))
	}
}

func TestProblems(t *testing.T) {
	const keyed = `tenants:
  - id: acme
    sans: ["uri:spiffe://example.org/tenant/acme/*"]
    keys: [{id: k1, sha256: "` + digestA + `"}]
`
	for _, tc := range []struct{ name, text, want string }{
		{"empty file", "", `1:1: no tenants`},
		{"not a mapping", "- a\n", `1:1: the file: expected keys and values`},
		{"not YAML", head + "tenants: [\n", `6:10: `},
		{"a tab", "tls:\n\tcert: x\n", `2:1: `},
		{"two documents", whole + "---\nadmin: 127.0.0.1:1\n", `10:1: a second document`},
		{"duplicate key", whole + "state: other\n", `9:1: mapping key "state" already defined`},
		{"unknown key, other case", whole + "adminhosts: [x]\n", `9:1: unknown key "adminhosts"; write adminHosts`},
		{"unknown key, snake case", whole + "limits: {max_body_bytes: 1}\n", `9:10: unknown key "max_body_bytes"; write maxBodyBytes`},
		{"unknown key, none like it", whole + "log: {colour: red}\n", `9:7: unknown key "colour"; known here: format, level`},
		{"anchor", whole + "adminHosts: &a [x]\n", `9:13: anchors, aliases and tags`},
		{"alias", whole + "adminHosts: &a [x]\nlog: *a\n", `9:13: anchors, aliases and tags`},
		{"merge key", whole + "<<: {listen: a}\n", `9:1: unknown key "<<"`},
		{"tag", whole + "listen: !!str a:1\n", `9:9: anchors, aliases and tags`},
		{"environment", whole + "listen: ${SANGATE_NOT_SET}:1\n", `9:9: environment variable SANGATE_NOT_SET is not set`},
		{"captured tenant with a key", head + strings.NewReplacer("id: acme", `id: "{t}"`, "acme/*", "{t}").Replace(keyed), `9:13: tenant {t} stands for many: a key here`},
		{"one tenant twice", whole + "  - id: acme\n    sans: [\"dns:a.example.org\"]\n", `9:9: tenant "acme" stands here twice`},
		{"one key for two", head + keyed + "  - id: globex\n    sans: [\"dns:g.example.org\"]\n    keys: [{id: k2, sha256: \"" + digestA + "\"}]\n", `7:3: keys "k1" of tenant acme (config) and "k2" of tenant globex (config) are the same key`},
		{"overlap of prefixes", head + "tenants:\n  - {id: acme, sans: [\"ip:10.0.0.0/8\"]}\n  - {id: globex, sans: [\"ip:10.1.0.0/16\"]}\n", `8:25: SAN rule "ip:10.1.0.0/16" of tenant globex and "ip:10.0.0.0/8" of tenant acme can match`},
		{"no tenants", head, `1:1: no tenants`},
		{"OCSP, no such mode", revoking("ocsp: always"), `6:22: tls.revocation.ocsp "always": use none, soft or hard`},
		{"OCSP, a file as responder", revoking("ocsp: hard, ocspResponder: /x"), `6:43: tls.revocation.ocspResponder "/x": an http or https URL`},
		{"OCSP, a responder that is not asked", revoking("denylist: d, ocspResponder: \"http://x\""), `6:44: tls.revocation.ocspResponder is not asked`},
		{"revocation of nothing", revoking("ocsp: none"), `6:16: tls.revocation names neither`},
		{"SPIFFE beside files", strings.Replace(whole, "tls:\n", "tls:\n  spiffe: {}\n", 1), `4:9: tls.cert and tls.key stand beside tls.spiffe`},
		{"SPIFFE, two slashes", workload(`socket: "unix://run/agent.sock"`), `3:20: tls.spiffe.socket "unix://run/agent.sock": write unix:///`},
		{"SPIFFE, no ID", workload(`id: gate`), `3:16: tls.spiffe.id "gate"`},
		{"SPIFFE, an ID as domain", workload(`federated: ["spiffe://partner.example"]`), `3:24: tls.spiffe.federated "spiffe://partner.example": write a trust domain`},
		{"adminTLS, half a pair", whole + "adminTLS: {cert: server.crt}\n", `9:12: adminTLS has one of cert and key`},
		{"adminTLS, no such file", whole + "adminTLS: {cert: nowhere.crt, key: nowhere.key}\n", `9:18: certificate `},
		{"adminTLS, no such CA", whole + "adminTLS: {clientCA: [nowhere.crt]}\n", `9:22: trust bundle`},
		{"tracing, a query", whole + "tracing: {endpoint: \"https://collector.example/?key=1\"}\n", `9:21: endpoint "https://collector.example/": no query`},
		{"tracing, more than all", whole + "tracing: {endpoint: \"https://collector.example\", sample: 1.5}\n", `9:58: sample: 1.5`},
		{"tracing, callers of no kind", whole + "tracing: {endpoint: \"https://collector.example\", callers: all}\n", `9:59: callers "all": use sample, trust, link`},
		{"limits, a default of nothing", whole + "limits: {perIdentity: {streams: 0}}\n", `9:33: limits.perIdentity.streams must be more than 0`},
		{"limits, connections above all", whole + "  - {id: x, sans: [\"dns:x.example.org\"], limits: {connections: 20001}}\n", `9:64: connections must not be negative, nor above limits.maxConnections (20000)`},
		{"admins without names", whole + "admins: {keys: []}\n", `9:10: admins has no sans`},
		{"admins, a bad rule", whole + "admins: {sans: [\"dns:ops-*.example.org\"]}\n", `9:17: SAN rule "dns:ops-*.example.org"`},
		{"admins, a capture", whole + "admins: {sans: [\"dns:{who}.example.org\"]}\n", `9:17: SAN rule "dns:{who}.example.org": {who} is captured`},
		{"admins, a key without digest", whole + "admins: {sans: [\"dns:ops.example.org\"], keys: [{id: a}]}\n", `9:49: sha256 of key "a"`},
		{"admins as a tenant", head + "tenants:\n  - {id: \"@admins\", sans: [\"dns:ops.example.org\"]}\n", `7:10: "@admins" is no tenant`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, got := load(t, folder(t), tc.text)
			if len(got) == 0 || !strings.HasPrefix(got[0], tc.want) {
				t.Errorf("first problem:\n got %q\nwant %q…", got, tc.want)
			}
			for _, line := range got {
				if strings.HasPrefix(line, "/") || !strings.Contains("123456789", line[:1]) {
					t.Errorf("problem without a place: %s", line)
				}
			}
		})
	}
}

// What was refused as it stands is not called missing too.
func TestRefusedOnce(t *testing.T) {
	_, got := load(t, folder(t), strings.NewReplacer("state: state", "state: [state]", "cert: server.crt", "cert: {}").Replace(whole))
	if want := []string{"1:8: expected a single value", "3:9: expected a single value"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want only %q", got, want)
	}
}

const digestA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// An alias bomb costs nothing: what an alias stands for is never looked at.
func TestAliasBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString(whole + "a0: &a0 [x]\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s *a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), i-1)
	}
	b.WriteString("adminHosts: *a39\n")
	_, got := load(t, folder(t), b.String())
	if !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "anchors, aliases and tags are not taken") }) {
		t.Errorf("not refused: %q", got)
	}
}

func TestOverridesAndEnvironment(t *testing.T) {
	t.Setenv("SANGATE_TEST_PORT", "7443")
	t.Setenv("SANGATE_TEST_YAML", "a: [b") // text, never structure
	c, problems := load(t, folder(t), whole+"listen: 127.0.0.1:${SANGATE_TEST_PORT}\nadminHosts: ['${SANGATE_TEST_YAML}', $$x]\n",
		"log.level=debug", "limits.toolTimeout=90s", "tls.minVersion=\"1.2\"", "admin=127.0.0.1:${SANGATE_TEST_PORT}")
	if problems != nil {
		t.Fatal(problems)
	}
	if c.Listen != "127.0.0.1:7443" || c.Admin != "127.0.0.1:7443" || !slices.Equal(c.AdminHosts, []string{"a: [b", "$x"}) {
		t.Errorf("listen %q, admin %q, adminHosts %q", c.Listen, c.Admin, c.AdminHosts)
	}
	if c.Log.Level != "debug" || c.Log.Format != "json" || c.Limits.ToolTimeout != 90*time.Second || c.TLS.MinVersion != "1.2" || c.TLS.Cert == "" {
		t.Errorf("overridden: %+v", c)
	}
	for override, want := range map[string]string{
		"log.level":          "--set log.level: write key=value",
		"=x":                 "--set : write key=value",
		"log.colour=red":     `--set log.colour: unknown key "colour"; known here: format, level`,
		"log.level=loud":     `--set log.level: log.level "loud": use`,
		"limits.idleTimeout": "--set limits.idleTimeout: write key=value",
		"tls.minVersion=9":   `--set tls.minVersion: tls.minVersion "9"`,
		"listen=[":           "--set listen: ",
	} {
		_, got := load(t, folder(t), whole, override)
		if len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("--set %s: got %q, want only %q…", override, got, want)
		}
	}
}

// An override of one key does not move the place of its neighbours.
func TestOverrideKeepsPlaces(t *testing.T) {
	_, got := load(t, folder(t), strings.Replace(whole, "  key: server.key\n", "", 1), "tls.minVersion=\"1.2\"")
	if want := "3:3: tls.key is missing: name a PEM file, or have the gate get its certificate by tls.stepCA"; len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want only %q", got, want)
	}
}
