package prometheus_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// One series of a scrape.
type one struct {
	name   string
	labels map[string]string
}

// text is it as Prometheus writes it, with labels before its own.
func (o one) text(before string) string {
	for _, label := range slices.Sorted(maps.Keys(o.labels)) {
		before += fmt.Sprintf(", %s=%q", label, strings.ReplaceAll(o.labels[label], "'", ""))
	}
	return o.name + "{" + before + "}"
}

// scraped are the series of a gate that has all there is, and of which calls have
// failed; and certificates beside its own.
func scraped(t *testing.T) []one {
	t.Helper()
	issuer, up := servertest.NewIssuer(t), upstream(t)
	g := startGate(t, servertest.Options{Files: map[string]string{"denylist": "", "jwks.json": string(issuer.JWKS())}, Config: func(yaml string) string {
		config := strings.Replace(issuer.Config(), "egress: {allow: [127.0.0.0/8]}\n", "", 1)
		return withUpstream(yaml, up.URL, "") + config + "  - {name: file, issuer: \"https://file.example\", audiences: [gate], jwksFile: jwks.json, tenantClaim: tenant}\n"
	}})
	g.list(time.Hour)
	g.Configure(func(yaml string) string {
		return strings.Replace(yaml, "clientCA:", "revocation: {crl: [list.crl], denylist: denylist}, clientCA:", 1)
	})
	for _, tool := range []string{"echo", "look", "none"} {
		g.call(tool, g.Key("acme"))
	}
	up.CloseClientConnections()
	up.Close()
	g.call("look", g.Key("acme"))
	res, err := http.Get(g.AdminURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	all := []one{{name: "up"}}
	for name, f := range families {
		for _, m := range f.Metric {
			labels := map[string]string{}
			for _, pair := range m.Label {
				labels[pair.GetName()] = pair.GetValue()
			}
			all = append(all, one{name, labels})
		}
	}
	for _, date := range []string{"not_before", "not_after"} {
		date = "sangate_certificate_" + date + "_timestamp_seconds"
		for name := range shown {
			all = append(all, one{date, map[string]string{"role": "upstream", "name": name}})
		}
		for name := range authorities(10 * aDay) {
			all = append(all, one{date, map[string]string{"role": "client_ca", "name": name}})
		}
	}
	return all
}

// notation is how promtool reads values: those of minutes from to end.
func notation(values []float64, from, end int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "_x%d", from)
	for _, v := range values[from:min(end, len(values))] {
		if math.IsNaN(v) {
			b.WriteString(" _")
		} else {
			fmt.Fprintf(&b, " %.0f", v)
		}
	}
	if end < len(values) {
		b.WriteString(" stale") // as Prometheus marks what is no longer there
	}
	return b.String()
}

// A gate that is well has no alert in ten days, be it one of several that many call,
// each restart of which is another instance, or one alone that few call. Its series are
// a real gate's; what they show is made up. The same gates whose certificate is not
// renewed after the first day have the alerts that are about that, and no other.
func TestQuietForTenDays(t *testing.T) {
	if pkitest.Race || testing.Short() {
		t.Skip("by make scale: it takes minutes")
	}
	promtool := servertest.Debian(t, "promtool", "prometheus")
	all := scraped(t)
	var recorded []string
	var defined rules
	readYAML(t, "rules.yaml", &defined)
	for _, g := range defined.Groups {
		for _, r := range g.Rules {
			if r.Record != "" {
				recorded = append(recorded, r.Record)
			}
		}
	}
	used := map[string]bool{}
	for _, c := range []struct {
		name, fires string
		days        int
		renewed     func(m int) int
	}{
		{"well", "", 10, kept{lives: aDay}.renewed},
		{"not renewed", "SangateCertificateExpired SangateCertificateNotRenewed", 3, func(m int) int { return kept{lives: aDay}.renewed(min(m, aDay)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b strings.Builder
			b.WriteString("rule_files: [rules.yaml]\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n")
			series := func(o one, job, instance, values string) {
				fmt.Fprintf(&b, "  - series: '%s'\n    values: '%s'\n", o.text(fmt.Sprintf("job=%q, instance=%q", job, instance)), values)
			}
			busy := &life{spiffe: true, calls: byDay, fails: func(m int) float64 { return byDay(m) / 2500 }} // of a budget of one in a thousand
			quiet := &life{calls: always(1), fails: each(aDay)}
			var l *life
			for _, l = range []*life{busy, quiet} {
				l.minutes, l.renewed, l.r = c.days*aDay, c.renewed, rand.New(rand.NewPCG(1, 2))
				for _, o := range all {
					values := l.values(o.name, o.labels)
					if values == nil {
						continue
					}
					used[o.name] = true
					if l == quiet {
						series(o, "quiet", "quiet:9090", notation(values, 0, l.minutes))
						continue
					}
					for from := 0; from < l.minutes; from += restarted {
						if !slices.ContainsFunc(values[from:min(from+restarted, l.minutes)], func(v float64) bool { return !math.IsNaN(v) }) {
							continue
						}
						series(o, "sangate", fmt.Sprintf("gate-%d:9090", from), notation(values, from, from+restarted))
					}
				}
			}
			b.WriteString("  promql_expr_test:\n")
			for end := restarted; end-restarted < l.minutes; end += restarted { // promtool holds 10,000 samples of a series
				fmt.Fprintf(&b, "  - eval_time: %dm\n    expr: count by (alertname) (count_over_time(ALERTS{alertstate=\"firing\"}[%dm])) * 0\n    exp_samples:", min(end, l.minutes)-1, restarted)
				for _, name := range strings.Fields(c.fires) {
					fmt.Fprintf(&b, "\n    - {labels: '{alertname=\"%s\"}', value: 0}", name)
				}
				if c.fires == "" {
					b.WriteString(" []")
				}
				b.WriteByte('\n')
			}
			for _, name := range recorded { // a rule that sees nothing is quiet, too
				fmt.Fprintf(&b, "  - eval_time: %dm\n    expr: count(count by (job) (%s))\n    exp_samples: [{value: 2}]\n", l.minutes-1, name)
			}
			dir := t.TempDir()
			for name, text := range map[string][]byte{"rules.yaml": mustRead(t, "rules.yaml"), "days.yaml": []byte(b.String())} {
				if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", filepath.Join(dir, "days.yaml")).CombinedOutput(); err != nil {
				t.Errorf("%v\n%.6000s", err, out)
			}
		})
	}
	for _, name := range metricsOf(t) {
		if !used[name] {
			t.Errorf("the rules look at %s, and no life was made for it", name)
		}
	}
}
