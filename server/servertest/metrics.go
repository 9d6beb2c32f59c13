package servertest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/common/expfmt"
)

// Metric scrapes the admin listener and adds up the series of that name whose
// labels include these ("reason", "ok", …). It fails the test where there is
// none.
func (g *Gate) Metric(name string, labels ...string) float64 {
	g.t.Helper()
	sum, found := 0.0, false
	for _, line := range g.scrape(name) {
		if value, ok := series(line, name, labels); ok {
			found = true
			sum += value
		}
	}
	if !found {
		g.t.Fatalf("no metric %s with %q", name, labels)
	}
	return sum
}

// By scrapes the series of that name and adds them up by the value of a label.
func (g *Gate) By(name, label string) map[string]float64 {
	g.t.Helper()
	sums := make(map[string]float64)
	for _, line := range g.scrape(name) {
		value, ok := series(line, name, nil)
		if _, rest, found := strings.Cut(line, label+`="`); ok && found {
			of, _, _ := strings.Cut(rest, `"`)
			sums[of] += value
		}
	}
	return sums
}

// Series counts the series of the gate's own metrics.
func (g *Gate) Series() int {
	g.t.Helper()
	n := 0
	for _, line := range g.scrape("") {
		if strings.HasPrefix(line, "sangate_") {
			n++
		}
	}
	return n
}

// scrape returns the lines of what has that name, or all if there is none. It gathers
// what the admin listener would answer, which paces whoever asks often; a gate that was
// started by other means is asked there.
func (g *Gate) scrape(name string) []string {
	g.t.Helper()
	if g.Server == nil {
		return g.answered()
	}
	families, err := g.Server.Metrics().Registry.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	var text bytes.Buffer
	for _, f := range families {
		if name != "" && !strings.HasPrefix(name, f.GetName()) { // a histogram's series are longer
			continue
		}
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			g.t.Fatal(err)
		}
	}
	return strings.Split(text.String(), "\n")
}

// answered returns what the admin listener answers.
func (g *Gate) answered() []string {
	g.t.Helper()
	res, err := http.Get(g.AdminURL + "/metrics")
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		g.t.Fatalf("GET /metrics: %s, %v", res.Status, err)
	}
	return strings.Split(string(text), "\n")
}

// series reads a line of the text format, where it is of that name and labels.
func series(line, name string, labels []string) (float64, bool) {
	rest, ok := strings.CutPrefix(line, name)
	if !ok || rest == "" || (rest[0] != '{' && rest[0] != ' ') {
		return 0, false
	}
	i := strings.LastIndexByte(rest, ' ')
	have := "," + strings.Trim(rest[:i], "{}") + ","
	for i := 0; i < len(labels); i += 2 {
		if !strings.Contains(have, fmt.Sprintf(",%s=%q,", labels[i], labels[i+1])) {
			return 0, false
		}
	}
	value, err := strconv.ParseFloat(rest[i+1:], 64)
	return value, err == nil
}
