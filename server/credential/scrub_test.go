package credential_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sangate/sangate/server/credential"
)

const odd = `s3cr<t/"+& ü?=Zz~9` // every escape changes it

// Holds: upstream/secret-in-error
func TestScrubberFindsEncodings(t *testing.T) {
	s := credential.NewScrubber(odd)
	quoted, _ := json.Marshal(odd)
	twice, _ := json.Marshal(string(quoted))
	forms := map[string]string{
		"plain": odd, "query": url.QueryEscape(odd), "path": url.PathEscape(odd), "lower-case query": lowerEscapes(url.QueryEscape(odd)),
		"JSON": string(quoted), "JSON in JSON": string(twice), "HTML": html.EscapeString(odd), "Go": fmt.Sprintf("%q", odd), "ASCII": fmt.Sprintf("%+q", odd),
		"hex": hex.EncodeToString([]byte(odd)), "upper-case hex": strings.ToUpper(hex.EncodeToString([]byte(odd))),
		"slashes": strings.ReplaceAll(strings.Trim(string(quoted), `"`), "/", `\/`),
	}
	for name, e := range map[string]*base64.Encoding{"std": base64.StdEncoding, "raw": base64.RawStdEncoding, "url": base64.URLEncoding, "raw url": base64.RawURLEncoding} {
		for _, before := range []string{"", "u:", "us:", "use:"} {
			forms["base64 "+name+" behind "+before] = e.EncodeToString([]byte(before + odd))
		}
	}
	forms["base64 in a query"] = url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(odd)))
	forms["a form in base64"] = base64.StdEncoding.EncodeToString([]byte("id:" + url.QueryEscape(odd)))
	for name, form := range forms {
		text := "before " + form + " behind"
		if got := s.String(text); !strings.Contains(got, credential.Redacted) || len(got) > len("before  behind")+len(credential.Redacted)+10 {
			t.Errorf("%s: %q of %q", name, got, text)
		}
	}
	escaped := []byte(`{"a":"\u0073\u0033cr<t\/\"+\u0026 \u00fc?=Zz~9","b":1.10}`)
	if got := string(s.JSON(escaped)); got != `{"a":"[redacted]","b":1.10}` {
		t.Errorf("needless escapes: %s", got)
	}
	same := []byte(`{"a":"\u0073omething else","b":1.10}`)
	if got := s.JSON(same); !bytes.Equal(got, same) {
		t.Errorf("without a secret: %s, want %s", got, same)
	}
}

func lowerEscapes(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			b.WriteString(strings.ToLower(s[i : i+3]))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// A secret is found wherever the reads of a body cut it; everything else passes unchanged.
//
// Holds: upstream/secret-in-pieces
func TestScrubberReader(t *testing.T) {
	const secret, next = "hunter2hunter2", "hunter2hunter2-rotated"
	s := credential.NewScrubber(secret, next)
	text := "hunter hunter2hunter " + secret + secret + "|" + next + "|" + base64.StdEncoding.EncodeToString([]byte("bot:"+secret)) + " the end hunter2hunt"
	want := s.String(text)
	if strings.Contains(want, secret) || strings.Contains(want, "rotated") || !strings.HasPrefix(want, "hunter hunter2hunter [redacted]") || !strings.HasSuffix(want, " the end hunter2hunt") {
		t.Fatalf("whole: %q", want)
	}
	for size := 1; size <= len(text); size++ {
		body := s.Reader(io.NopCloser(&chunks{text, size}))
		got, err := io.ReadAll(body)
		if err != nil || string(got) != want {
			t.Fatalf("in pieces of %d: %q, %v; want %q", size, got, err, want)
		}
	}
	got, err := io.ReadAll(s.Reader(io.NopCloser(io.MultiReader(strings.NewReader("x"), iotest.ErrReader(errors.New("bad "+secret))))))
	if string(got) != "x" || err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("a body that fails: %q, %v", got, err)
	}
	// An event is passed on as soon as it is there.
	r, w := io.Pipe()
	go func() { _, _ = w.Write([]byte("data: {}\n\n")) }()
	buf := make([]byte, 100)
	if n, err := s.Reader(r).Read(buf); string(buf[:n]) != "data: {}\n\n" || err != nil {
		t.Errorf("an event: %q, %v", buf[:n], err)
	}
}

type chunks struct {
	text string
	size int
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.text == "" {
		return 0, io.EOF
	}
	n := copy(p, c.text[:min(c.size, len(c.text))])
	c.text = c.text[n:]
	return n, nil
}

func TestScrubberBounds(t *testing.T) {
	s := credential.NewScrubber("short", "always-known")
	if got := s.String("short words"); got != "short words" {
		t.Errorf("a short secret: %q", got)
	}
	for i := range 100 {
		s.Use(fmt.Sprintf("rotated-%03d", i))
	}
	if got := s.String("always-known rotated-099 rotated-098 rotated-000"); got != "[redacted] [redacted] [redacted] rotated-000" {
		t.Errorf("many values: %q", got)
	}
	derived := s.Derive()
	derived.Use("of-one-call")
	if s.String("of-one-call") != "of-one-call" || derived.String("of-one-call always-known") != "[redacted] [redacted]" {
		t.Error("a derived Scrubber is not of its own")
	}
	s.UseSecret(&credential.Secret{Type: credential.Basic, Value: "u:pw"})
	if got := s.String("Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("u:pw"))); got != "Authorization: Basic [redacted]" {
		t.Errorf("Basic with a short password: %q", got)
	}
	clean := errors.New("nothing in it")
	if got := s.Error(clean); got != clean {
		t.Errorf("an error without a secret: %v", got)
	}
	if got := s.Error(fmt.Errorf("always-known: %w", io.EOF)); got.Error() != "[redacted]: EOF" || !errors.Is(got, io.EOF) {
		t.Errorf("an error: %v", got)
	}
	var log bytes.Buffer
	logger := slog.New(s.Handler(slog.NewTextHandler(&log, nil))).With("a", "always-known").WithGroup("g")
	logger.Info("always-known", "err", errors.New("always-known"), slog.Group("h", "b", "always-known"))
	if strings.Contains(log.String(), "always-known") || strings.Count(log.String(), credential.Redacted) != 4 {
		t.Errorf("log: %s", log.String())
	}
	for name, want := range map[string]bool{"API_KEY": true, "apiKey": true, "X-Api-Key": true, "GITHUB_TOKEN": true, "PGPASSWORD": true, "dbPassword": true, "author": false, "monkey": false, "LOG_LEVEL": false, "keyboard": false} {
		if got := credential.SecretName(name); got != want {
			t.Errorf("SecretName(%q) = %v, want %v", name, got, want)
		}
	}
}

func BenchmarkScrubber(b *testing.B) {
	body := []byte(strings.Repeat(`{"id":12345,"name":"something","text":"lorem ipsum dolor sit amet"}`, 16))
	b.Run("body of 1 KiB", func(b *testing.B) {
		s := credential.NewScrubber("sk-0123456789abcdefghijABCDEFGHIJ")
		b.ReportAllocs()
		for b.Loop() {
			s.Bytes(body)
		}
	})
	b.Run("new secret", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			credential.NewScrubber("sk-0123456789abcdefghijABCDEFGHIJ")
		}
	})
}
