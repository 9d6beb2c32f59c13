package config

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// parseCut parses text in pieces that end as soon as they hold target bytes.
func parseCut(dir, text string, target int) (*Config, error) {
	d := newDecoder(dir+"/sangate.yaml", dir)
	d.target = target
	return d.load(strings.NewReader(text), nil)
}

const inParts = head + `# a comment
tenants: # and another
  - id: acme
    sans: ["uri:spiffe://example.org/tenant/acme/*"]
    vars:
      a: |
        tenants:
          - id: none
      b: "x
        y"

  - id: globex
    sans:
    - "dns:globex.example"
    - "dns:*.globex.example"
tools:
  builtin:
    - echo
    - whoami
  http:
  - name: a
    description: d
    request: {url: "https://a.example/x",
      method: GET
    }
limits:
  maxBodyBytes: 1000
  toolTimeout: 5s
egress:
  allow: [
    10.0.0.0/8
  ]
log: {level: debug}
`

// TestPiecesAgree checks that a configuration read entry by entry is the one that is read as a
// whole, and that problems have the same places.
func TestPiecesAgree(t *testing.T) {
	dir := folder(t)
	want, err := parseCut(dir, inParts, maxPiece)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseCut(dir, inParts, 1)
	if err != nil || !got.Equal(want) || len(got.Tenants) != 2 || len(got.Tools.Builtin) != 2 || got.Tenants[0].Vars["a"] != "tenants:\n  - id: none\n" {
		t.Errorf("in pieces: %+v, %v, want %+v", got, err, want)
	}
	n := 0
	for p := newPieces(strings.NewReader(inParts), 1); ; n++ {
		if _, err := p.next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n < 15 {
		t.Errorf("%d pieces, want one for each of 15 entries", n)
	}
	for _, broken := range []struct{ from, to string }{
		{"echo", "exec"}, {"5s", "5"}, {"debug", "[debug"}, {"id: globex", "id: GLOBEX"}, {"10.0.0.0/8", "10.0.0.0/99"}, {"whoami", "*b"},
		{"limits:", "unknown:"}, {"toolTimeout: 5s", "maxBodyBytes: 5"}, {"egress:", "tools:"}, {"  - id: globex", "  b: c\n  - id: globex"},
	} {
		text := strings.Replace(inParts, broken.from, broken.to, 1)
		_, want := parseCut(dir, text, maxPiece)
		_, got := parseCut(dir, text, 1)
		if place := firstPlace(want); want == nil || got == nil || place != firstPlace(got) && place.Line != firstPlace(got).Line {
			t.Errorf("%s: in pieces %v, want %v", broken.to, got, want)
		}
	}
}

func firstPlace(err error) (p Problem) {
	if problems, ok := errors.AsType[Problems](err); ok {
		p = Problem{Line: problems[0].Line, Col: problems[0].Col}
	}
	return p
}

// FuzzPieces checks that what is refused as a whole is refused in pieces, and that pieces never
// make another configuration.
func FuzzPieces(f *testing.F) {
	for _, s := range []string{inParts, whole, head + "tenants:\n- id: a\n- id: b\n...\nlisten: x\n", "tenants: [\n{id: a},\nadmin: x\n]\n", "a: |\n b\n---\nc: d\n",
		"log:\n  level: \"a\n  b: c\"\n", "listen: 'x\nadmin: y'\n", "tls:\r  cert: a\r\nlog:\r\n  level: debug\n", "\ufefflisten: a:1\n", "listen: a:1\n  b: c\n"} {
		f.Add(s)
	}
	dir := folder(f)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4<<10 {
			return
		}
		want, wantErr := parseCut(dir, text, maxPiece)
		got, err := parseCut(dir, text, 1)
		if wantErr != nil && err == nil || err == nil && !got.Equal(want) {
			t.Fatalf("in pieces: %+v, %v, want %+v, %v", got, err, want, wantErr)
		}
	})
}

// TestHugeConfigurationRefused checks that texts which cannot be a configuration are refused with
// a bounded error before much is allocated, whatever their size.
//
// Holds: document/configuration-bounded
func TestHugeConfigurationRefused(t *testing.T) {
	const full = maxFile - 1<<20
	dir := folder(t)
	fill := func(unit string) string { return strings.Repeat(unit, full/len(unit)) }
	var keys strings.Builder
	for i := range 3_000_000 {
		fmt.Fprintf(&keys, "a%d: b\n", i)
	}
	for name, text := range map[string]string{
		"anchors": fill("a: &a *a\n"), "entries": "tenants:\n" + fill("- 1\n"), "values on one line": "tenants: [" + strings.Repeat("1,", maxPiece/4) + "]",
		"flow list": "tenants: [" + fill("1,\n ") + "]", "documents": fill("---\na: b\n"), "short documents": strings.Repeat("---\na: b\n", 20_000),
		"other keys": keys.String(), "the same key": fill("a: b\n"), "comments": fill("# comment\n"), "empty lines": fill("\n"),
		"literal": "listen: |\n" + fill("  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"), "folded": "listen: >\n" + fill("  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"),
		"quoted": "listen: \"" + fill("  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n") + "\"", "plain": "listen:\n" + fill("  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"),
		"quotes": "a: " + strings.Repeat("\"'", maxPiece/2-10), "bad tenants": "tenants:\n" + fill("- {id: A, x: y}\n"), "tags": fill("a: !!str b\n"),
		"brackets": strings.Repeat("[", maxPiece-1), "empty lists": "a: [" + strings.Repeat("{}, ", maxPiece/8) + "]\n", "too many tenants": "tenants:\n" + strings.Repeat("- {}\n", maxItems+1),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := parseCut(dir, text, pieceTarget)
		runtime.ReadMemStats(&after)
		problems, _ := errors.AsType[Problems](err)
		if len(problems) == 0 || len(problems) > maxProblems+1 || len(err.Error()) > 1<<20 {
			t.Errorf("%s: %d problems, %.200v; want some, and a bounded text", name, len(problems), err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 1000<<20 {
			t.Errorf("%s: allocated %d MiB, want at most 1000", name, got>>20)
		} else if name == "brackets" && got > 4<<20 {
			t.Errorf("%s: allocated %d bytes, want at most 4 MiB: they are not to be scanned", name, got)
		}
		if name == "too many tenants" && !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: %.200v", name, err)
		}
	}
}

// TestLongValueQuotedInPart checks that an error does not repeat a long value, nor a part of one
// that came from the environment.
//
// Holds: document/configuration-bounded
func TestLongValueQuotedInPart(t *testing.T) {
	t.Setenv("LONG", strings.Repeat("secret", 500))
	for _, text := range []string{"drainTimeout: " + strings.Repeat("x", 100_000), "drainTimeout: '" + strings.Repeat("x", 900) + "${LONG}'"} {
		_, err := parse(folder(t)+"/sangate.yaml", []byte("limits:\n  "+text+"\n"), nil)
		if err == nil || len(err.Error()) > 4<<10 || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.20s…: error of %d bytes: %.2000v", text, len(fmt.Sprint(err)), err)
		}
	}
}

// TestLargeConfigurationLoads checks that a list which is larger than a part is read whole and in order.
func TestLargeConfigurationLoads(t *testing.T) {
	const n = 5_000
	var b strings.Builder
	b.WriteString(head + "tenants:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - id: t%d\n    sans: [\"uri:spiffe://example.org/tenant/t%[1]d/*\"]\n", i)
	}
	b.WriteString("log: {level: debug}\n")
	c, err := parse(folder(t)+"/sangate.yaml", []byte(b.String()), nil)
	if err != nil {
		t.Fatalf("%.500v", err)
	}
	for i, tenant := range c.Tenants {
		if want := fmt.Sprintf("t%d", i); tenant.ID != want {
			t.Fatalf("tenant %d is %s, want %s", i, tenant.ID, want)
		}
	}
	if len(c.Tenants) != n || c.Log.Level != "debug" {
		t.Errorf("%d tenants, level %s, want %d, debug", len(c.Tenants), c.Log.Level, n)
	}
	_, err = parse(folder(t)+"/sangate.yaml", []byte(strings.Replace(b.String(), "id: t4000\n", "id: T4000\n", 1)), nil)
	if problems, _ := errors.AsType[Problems](err); len(problems) != 1 || problems[0].Line != strings.Count(head, "\n")+2+2*4000 {
		t.Errorf("a bad tenant: %v, want one problem at its line", err)
	}
}
