package prometheus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/pki/stepca/steptest"
	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// A dashboard is one of Grafana's (schemaVersion 39), as far as ours go: other
// members are refused.
type dashboard struct {
	UID, Title, Description, Timezone, Refresh string
	Tags                                       []string
	SchemaVersion, Version, GraphTooltip       int
	Editable                                   bool
	Time                                       struct{ From, To string }
	Templating                                 struct{ List []variable }
	Annotations                                struct{ List []annotation }
	Links                                      []struct {
		Title, Type                       string
		Tags                              []string
		AsDropdown, IncludeVars, KeepTime bool
	}
	Panels []dashPanel
}

type source struct{ Type, UID string }

type variable struct {
	Name, Label, Type, Definition string
	Query                         any
	Datasource                    source
	Refresh, Sort                 int
	Multi, IncludeAll             bool
	AllValue                      *string
	Current                       struct{}
}

type annotation struct {
	Name, IconColor, Expr, TitleFormat string
	Datasource                         source
	Enable                             bool
}

type dashPanel struct {
	ID                       int
	Type, Title, Description string
	Datasource               source
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct {
		RefID, Expr, LegendFormat, Format string
		Datasource                        source
		Instant, Exemplar                 bool
	}
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Min, Max   *float64
			Custom     map[string]any
			Color      *struct{ Mode string }
			Thresholds *struct {
				Mode  string
				Steps []struct {
					Color string
					Value *float64
				}
			}
		}
		Overrides []struct{}
	}
	Options map[string]any
}

func dashboards(t *testing.T) map[string]*dashboard {
	t.Helper()
	files, err := filepath.Glob("../grafana/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	out := map[string]*dashboard{}
	for _, file := range files {
		var d dashboard
		decoder := json.NewDecoder(bytes.NewReader(mustRead(t, file)))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if d.UID+".json" != filepath.Base(file) || d.Title == "" || d.Description == "" || d.SchemaVersion != 39 || len(d.UID) > 40 {
			t.Errorf("%s: uid %q, title %q, schema %d", file, d.UID, d.Title, d.SchemaVersion)
		}
		out[d.UID] = &d
	}
	return out
}

// The dashboards are what Grafana takes: laid out on its grid without overlaps, each
// panel explained and asking the chosen source for metrics that there are.
func TestDashboards(t *testing.T) {
	known := map[string]bool{"up": true, "ALERTS": true}
	metrics := admin.NewMetrics("", "")
	metrics.Holdings(admin.Holdings{})
	for _, d := range metrics.Definitions() {
		for _, suffix := range []string{"", "_bucket", "_count", "_sum"} {
			known[d.Name+suffix] = suffix == "" || d.Type == "histogram"
		}
	}
	var all rules
	readYAML(t, "rules.yaml", &all)
	for _, g := range all.Groups {
		for _, r := range g.Rules {
			known[r.Record] = true
		}
	}
	kinds := []string{"timeseries", "stat", "table", "bargauge", "heatmap", "state-timeline"}
	for uid, d := range dashboards(t) {
		taken, ids := map[[2]int]string{}, map[int]bool{}
		for _, p := range d.Panels {
			at := uid + ": " + p.Title
			if p.Title == "" || p.Description == "" || !slices.Contains(kinds, p.Type) || len(p.Targets) == 0 || ids[p.ID] || p.FieldConfig.Defaults.Unit == "" {
				t.Errorf("%s: %+v", at, p)
			}
			ids[p.ID] = true
			if g := p.GridPos; g.X < 0 || g.Y < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
				t.Errorf("%s lies outside the grid: %+v", at, g)
			}
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					if other := taken[cell]; other != "" {
						t.Fatalf("%s overlaps %s", at, other)
					}
					taken[cell] = p.Title
				}
			}
			refs := map[string]bool{}
			for _, q := range p.Targets {
				if refs[q.RefID] || q.RefID == "" || q.Datasource != (source{"prometheus", "${datasource}"}) {
					t.Errorf("%s: target %+v", at, q)
				}
				refs[q.RefID] = true
				for _, v := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(q.Expr, -1) {
					if name := v[1]; !strings.HasPrefix(name, "__") && !slices.ContainsFunc(d.Templating.List, func(v variable) bool { return v.Name == name }) {
						t.Errorf("%s: no variable %s", at, name)
					}
				}
				for _, name := range regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*\{`).FindAllString(q.Expr, -1) {
					if name = strings.TrimSuffix(name, "{"); !known[name] && !strings.HasPrefix(name, "process_") && !strings.HasPrefix(name, "go_") {
						t.Errorf("%s: no metric %s", at, name)
					}
				}
			}
		}
	}
}

// Grafana is led to where Prometheus is told to listen, and that is not where the gate's
// admin listener does.
func TestDatasource(t *testing.T) {
	var provisioned struct{ Datasources []struct{ URL, UID string } }
	readYAML(t, "../grafana/datasource.yaml", &provisioned)
	at := regexp.MustCompile(`--web\.listen-address=(\S+)`).FindSubmatch(mustRead(t, "prometheus.yaml"))
	if at == nil || len(provisioned.Datasources) != 1 || provisioned.Datasources[0].URL != "http://"+string(at[1]) {
		t.Fatalf("Prometheus is at %s, Grafana looks at %+v", at, provisioned.Datasources)
	}
	var scraped struct {
		Jobs []struct {
			Configs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	readYAML(t, "prometheus.yaml", &scraped)
	if gate := scraped.Jobs[0].Configs[0].Targets[0]; gate == string(at[1]) {
		t.Errorf("the gate is at %s, too", gate)
	}
}

// Each query of each dashboard has something to show, asked of a real Prometheus
// that scrapes real gates, and of one that takes native histograms and no others.
func TestDashboardsShow(t *testing.T) {
	issuer, up := servertest.NewIssuer(t), upstream(t)
	draft := &tool.Prompt{Name: "draft", Described: json.RawMessage(`{"name":"draft"}`), Get: func(context.Context, *tool.Call) (*tool.Result, error) {
		return &tool.Result{Structured: json.RawMessage(`{"messages":[]}`)}, nil
	}}
	g := startGate(t, servertest.Options{Prompts: []*tool.Prompt{draft}, Files: map[string]string{"denylist": ""}, Config: func(yaml string) string {
		return withUpstream(yaml, up.URL, "  - {name: crm, baseUrl: \"http://127.0.0.1:1\"}\n") + strings.Replace(issuer.Config(), "egress: {allow: [127.0.0.0/8]}\n", "", 1)
	}})
	g.list(time.Hour)
	g.Configure(func(yaml string) string {
		return strings.Replace(yaml, "clientCA:", "revocation: {crl: [list.crl], denylist: denylist}, clientCA:", 1)
	})
	ca := steptest.Start(t, steptest.Options{Min: time.Second, Default: 40 * time.Second, NoBackdate: true})
	enrolled := startGate(t, servertest.Options{Config: func(yaml string) string {
		return strings.Replace(yaml, "{cert: server.crt, key: server.key, clientCA: [ca.crt]}", fmt.Sprintf(
			"{stepCA: {url: %q, fingerprint: %s, provisioner: %s, passwordFile: %s, sans: [127.0.0.1]}}", ca.URL, ca.Fingerprint, steptest.Provisioner, ca.PasswordFile()), 1)
	}})
	gates := map[string]string{"g": g.AdminURL, "enrolled": enrolled.AdminURL}
	w := startWatch(t, gates)
	watches := map[string]*watch{"classic": w, "native": startWatch(t, gates, "--enable-feature=native-histograms")}
	replace := strings.NewReplacer("$job", "sangate", "$instance", ".*", "$__rate_interval", "10s", "$__range", "1m")
	type query struct {
		of   *watch
		expr string
	}
	queries := map[string]query{}
	ask := func(name, expr string) {
		for kind, w := range watches {
			queries[name+" ("+kind+")"] = query{w, replace.Replace(expr)}
		}
	}
	for uid, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				ask(uid+": "+p.Title+" "+q.RefID, q.Expr)
			}
		}
		for _, v := range d.Templating.List {
			if v.Type == "query" {
				ask(uid+": variable "+v.Name, regexp.MustCompile(`label_values\((.*), \w+\)`).ReplaceAllString(v.Definition, "$1"))
			}
		}
		for _, a := range d.Annotations.List {
			if res := w.query(replace.Replace(a.Expr)); res == nil {
				w.until("the annotation "+a.Name+" is understood", 20*time.Second, func() bool { return w.query(replace.Replace(a.Expr)) != nil })
			}
		}
	}
	stranger := pkitest.NewCA(t, "stranger").Issue(t, pkitest.Leaf{})
	w.until("every query shows something:", 3*time.Minute, func() bool {
		for _, tool := range []string{"echo", "look", "gate_certificates"} { // the last is denied
			g.call(tool, g.Key("acme"))
		}
		g.call("echo", g.Key("globex"))
		g.prompt("draft", g.Key("acme"))
		if res, err := g.Client(stranger).Get(g.URL + "/health"); err == nil {
			_ = res.Body.Close()
		}
		g.client.CloseIdleConnections()
		for name, q := range queries {
			if values := q.of.query(q.expr); len(values) > 0 && slices.ContainsFunc(slices.Collect(maps.Values(values)), func(v string) bool { return v != "NaN" }) {
				delete(queries, name)
			}
		}
		if len(queries) < 24 && g.Metric("sangate_upstream_up", "server", "up") == 1 {
			up.CloseClientConnections()
			up.Close() // so that calls fail, too
		}
		time.Sleep(100 * time.Millisecond) // so often it is asked
		return len(queries) == 0
	}, func() string { return fmt.Sprint(queries) })
}
