package prometheus_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// A life says what a series shows at each minute, of a gate that is well: who calls by
// day and less at night, strangers at the door, certificates of a day that are
// renewed, lists, keys, a restart each third day, a configuration each day.
type life struct {
	minutes int // of it, a scrape in each
	r       *rand.Rand
	renewed func(minute int) int // when the certificate in force was issued
}

// counter grows by what happens in a minute, and begins again at each restart.
func (l *life) counter(start float64, perMinute func(minute int) float64) (out []float64) {
	total := start
	for m := range l.minutes {
		if m > 0 && m%(3*24*60) == 0 {
			total = 0
		}
		for n := perMinute(m); n > 0; n-- {
			if n >= 1 || l.r.Float64() < n {
				total++
			}
		}
		out = append(out, total)
	}
	return out
}

func (l *life) gauge(at func(minute int) float64) (out []float64) {
	for m := range l.minutes {
		out = append(out, at(m))
	}
	return out
}

// calls are those of a minute: forty at noon, a few at night.
func calls(m int) float64 {
	return 22 - 18*math.Cos(2*math.Pi*float64(m)/(24*60))
}

// each is what happens once in so many minutes.
func each(n int) func(int) float64 {
	return func(m int) float64 {
		if m%n == n/2 {
			return 1
		}
		return 0
	}
}

// values returns those of a series of the scrape; nil where the rules have no use
// for it.
func (l *life) values(name string, labels map[string]string) []float64 {
	const day, hour = 24 * 60, 60
	never := func(int) float64 { return 0 }
	switch name {
	case "sangate_tls_handshakes_total":
		switch labels["result"] {
		case "ok":
			return l.counter(1, func(m int) float64 { return calls(m) / 5 })
		case "no_certificate", "protocol", "aborted": // scanners
			return l.counter(0, func(m int) float64 { return 0.2 + 20*each(6*hour)(m) })
		case "untrusted": // which stands for all that do not happen
			return l.counter(0, never)
		}
		return nil
	case "sangate_auth_decisions_total":
		switch {
		case labels["reason"] == "ok":
			return l.counter(3, calls)
		case labels["reason"] == "token_expired", labels["reason"] == "token_missing":
			return l.counter(0, func(m int) float64 { return calls(m) / 200 })
		case labels["stage"] == "agreement", labels["reason"] == "san_unmapped":
			return l.counter(0, never)
		}
		return nil
	case "sangate_tool_calls_total":
		switch labels["result"] {
		case "ok":
			return l.counter(1, calls)
		case "tool_error", "invalid_arguments":
			return l.counter(0, func(m int) float64 { return calls(m) / 50 })
		}
		return l.counter(0, func(m int) float64 { return calls(m) / 50_000 })
	case "sangate_certificate_not_before_timestamp_seconds", "sangate_certificate_not_after_timestamp_seconds":
		begins, lasts := func(int) float64 { return -300 * day * 60 }, float64(3650*day*60) // of a root
		if labels["role"] != "client_ca" {
			begins, lasts = func(m int) float64 { return float64(60 * l.renewed(m)) }, day*60
		}
		if strings.Contains(name, "not_before") {
			return l.gauge(begins)
		}
		return l.gauge(func(m int) float64 { return begins(m) + lasts })
	case "sangate_certificate_renewals_total":
		if labels["result"] == "ok" {
			return l.counter(1, each(16*hour))
		}
		return l.counter(0, each(4*day)) // the CA was restarted: one attempt
	case "sangate_certificate_reloads_total", "sangate_config_reloads_total":
		if labels["result"] == "ok" {
			return l.counter(0, each(day))
		}
		return l.counter(0, never)
	case "sangate_crl_next_update_timestamp_seconds":
		return l.gauge(func(m int) float64 { return float64((m/(12*hour))*12*hour+day) * 60 })
	case "sangate_jwks_last_success_timestamp_seconds":
		return l.gauge(func(m int) float64 { return float64(m/hour*hour*60) + 1 })
	case "sangate_upstream_up":
		return l.gauge(func(m int) float64 { return 1 - each(2*day)(m) }) // it was restarted
	case "sangate_credential_resolutions_total":
		if labels["result"] == "ok" {
			return l.counter(1, calls)
		}
		return l.counter(0, never)
	case "sangate_ca_roots_errors_total", "sangate_trust_anchors_dropped_total", "sangate_audit_errors_total":
		return l.counter(0, never)
	}
	return nil
}

// families scrapes a gate that is well and has all there is.
func families(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	issuer, up := servertest.NewIssuer(t), upstream(t)
	g := startGate(t, servertest.Options{Files: map[string]string{"denylist": ""}, Config: func(yaml string) string {
		return withUpstream(yaml, up.URL, "") + strings.Replace(issuer.Config(), "egress: {allow: [127.0.0.0/8]}\n", "", 1)
	}})
	g.list(time.Hour)
	g.Configure(func(yaml string) string {
		return strings.Replace(yaml, "clientCA:", "revocation: {crl: [list.crl], denylist: denylist}, clientCA:", 1)
	})
	for _, tool := range []string{"echo", "look", "none"} {
		g.call(tool, g.Key("acme"))
	}
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
	all, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A gate that is well has no alert in ten days. Its series are a real gate's; what
// they show is made up. The same gate whose certificate is not renewed after the first
// day has those that are about that, and no other.
func TestQuietForTenDays(t *testing.T) {
	if pkitest.Race || testing.Short() {
		t.Skip("by make scale: it takes a minute")
	}
	promtool := servertest.Debian(t, "promtool", "prometheus")
	all := families(t)
	used := map[string]bool{}
	for _, c := range []struct {
		name, fires string
		days        int
		renewed     func(m int) int
	}{
		{"well", "", 10, func(m int) int { return m / 960 * 960 }},
		{"not renewed", "SangateCertificateExpired SangateCertificateNotRenewed", 3, func(m int) int { return min(m, 24*60) / 960 * 960 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &life{minutes: c.days * 24 * 60, r: rand.New(rand.NewPCG(1, 2)), renewed: c.renewed}
			var b strings.Builder
			b.WriteString("rule_files: [rules.yaml]\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n")
			series := func(name, labels string, values []float64) {
				fmt.Fprintf(&b, "  - series: '%s{job=\"sangate\", instance=\"gate:9090\"%s}'\n    values: '", name, labels)
				for i, v := range values {
					if i > 0 {
						b.WriteByte(' ')
					}
					fmt.Fprintf(&b, "%.0f", v)
				}
				b.WriteString("'\n")
			}
			series("up", "", l.gauge(func(int) float64 { return 1 }))
			for name, f := range all {
				for _, m := range f.Metric {
					labels, text := map[string]string{}, ""
					for _, pair := range m.Label {
						labels[pair.GetName()] = pair.GetValue()
						text += fmt.Sprintf(", %s=%q", pair.GetName(), strings.ReplaceAll(pair.GetValue(), "'", ""))
					}
					if values := l.values(name, labels); values != nil {
						used[name] = true
						series(name, text, values)
					}
				}
			}
			fmt.Fprintf(&b, "  promql_expr_test:\n  - eval_time: %dm\n    expr: count by (alertname) (count_over_time(ALERTS{alertstate=\"firing\"}[10d])) * 0\n    exp_samples:", l.minutes-1)
			for _, name := range strings.Fields(c.fires) {
				fmt.Fprintf(&b, "\n    - {labels: '{alertname=\"%s\"}', value: 0}", name)
			}
			if c.fires == "" {
				b.WriteString(" []")
			}
			b.WriteByte('\n')
			dir := t.TempDir()
			for name, text := range map[string][]byte{"rules.yaml": mustRead(t, "rules.yaml"), "days.yaml": []byte(b.String())} {
				if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", filepath.Join(dir, "days.yaml")).CombinedOutput(); err != nil {
				t.Errorf("%v\n%.3000s", err, out)
			}
		})
	}
	for _, name := range metricsOf(t) {
		if !used[name] {
			t.Errorf("the rules look at %s, and no life was made for it", name)
		}
	}
}
