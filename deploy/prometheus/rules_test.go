package prometheus_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/servertest"
)

type rules struct {
	Groups []struct {
		Rules []struct {
			Alert, Record, Expr string
			Labels, Annotations map[string]string
		}
	}
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	if err := yaml.Unmarshal(mustRead(t, file), into); err != nil {
		t.Fatal(err)
	}
}

// rulesOf returns the names of the alerts.
func rulesOf(t *testing.T) map[string]bool {
	t.Helper()
	var all rules
	readYAML(t, "rules.yaml", &all)
	names := map[string]bool{}
	for _, g := range all.Groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				names[r.Alert] = true
			}
		}
	}
	return names
}

// metricsOf returns the metrics of the gate's that the rules look at.
func metricsOf(t *testing.T) []string {
	t.Helper()
	names := regexp.MustCompile(`sangate_[a-z0-9_]+`).FindAllString(regexp.MustCompile(`(?s)annotations:.*?runbook_url:`).ReplaceAllString(string(mustRead(t, "rules.yaml")), ""), -1)
	slices.Sort(names)
	return slices.Compact(names)
}

func mustRead(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Prometheus takes the rules, and they do what their tests say. Each alert is tested
// where it fires and where it does not, has a place in docs/alerts.md, and asks for
// metrics that the gate has.
func TestAlertRules(t *testing.T) {
	var all rules
	readYAML(t, "rules.yaml", &all)
	metrics := admin.NewMetrics("", "")
	metrics.Holdings(admin.Holdings{})
	known := map[string]bool{}
	for _, d := range metrics.Definitions() {
		known[d.Name] = true
	}
	page, err := os.ReadFile("../../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	reasons := []string{"reasons.md#{{ $labels.result }}", "reasons.md#{{ $labels.reason }}"} // which has a heading for each
	var headings, alerts []string
	for _, h := range regexp.MustCompile(`(?m)^## (.+)$`).FindAllSubmatch(page, -1) {
		headings = append(headings, string(h[1]))
	}
	for _, g := range all.Groups {
		for _, r := range g.Rules {
			if r.Record != "" {
				known[r.Record] = true
			} else {
				alerts = append(alerts, r.Alert)
				severity := r.Labels["severity"]
				if _, after, ok := strings.Cut(string(page), "## "+r.Alert+"\n\n"); severity == "" || !ok || !strings.HasPrefix(after, "*"+severity+".*") {
					t.Errorf("%s: docs/alerts.md does not have it as a %s", r.Alert, severity)
				}
				const pages = "https://github.com/sangate/sangate/blob/main/docs/"
				if link := r.Annotations["runbook_url"]; link != pages+"alerts.md#"+strings.ToLower(r.Alert) && !slices.Contains(reasons, strings.TrimPrefix(link, pages)) {
					t.Errorf("%s leads to %s", r.Alert, link)
				}
			}
			for _, name := range regexp.MustCompile(`sangate[_:][a-z0-9_:]+`).FindAllString(r.Expr, -1) {
				if !known[name] {
					t.Errorf("%s%s asks for %s, which is not there", r.Alert, r.Record, name)
				}
			}
		}
	}
	if slices.Sort(headings); !slices.Equal(headings, slices.Sorted(slices.Values(alerts))) {
		t.Errorf("docs/alerts.md has\n%v\nthe rules have\n%v", headings, alerts)
	}

	files, err := filepath.Glob("*_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, file := range files {
		var cases struct {
			Tests []struct {
				Alerts []struct {
					Name     string `yaml:"alertname"`
					Expected []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		readYAML(t, file, &cases)
		for _, c := range cases.Tests {
			for _, a := range c.Alerts {
				if len(a.Expected) > 0 {
					fires[a.Name] = true
				} else {
					quiet[a.Name] = true
				}
			}
		}
	}
	for _, cases := range []map[string]bool{fires, quiet} {
		if got := slices.Sorted(maps.Keys(cases)); !slices.Equal(got, headings) {
			t.Errorf("tested are %v", got)
		}
	}
	promtool := servertest.Debian(t, "promtool", "prometheus")
	for _, args := range [][]string{{"check", "rules", "rules.yaml"}, append([]string{"test", "rules"}, files...)} {
		if out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}
