package httptool

import (
	"net/url"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/expr"
)

// FuzzExpand checks that what a caller sends stays in its part of a URL: the host is
// the tenant's, the segments around stay as written, and there is neither query nor
// dot segment nor a line break.
//
// Holds: client/argument-leaves-url
func FuzzExpand(f *testing.F) {
	tenant := expr.Variable{Name: "tenant", Type: expr.String}
	host, err := expr.New(tenant)
	if err != nil {
		f.Fatal(err)
	}
	path, err := expr.New(tenant, expr.Variable{Name: "args", Type: expr.Texts})
	if err != nil {
		f.Fatal(err)
	}
	tpl, err := parseTemplate("https://{tenant}.api.example/v1/{args.id}/x-{args.id}-y/end", host, path)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"7", "..", "../..", "a/b", "a?b", "a#b", "%2e%2e", "%2F", "a\r\nHost: evil", "\\..\\", ".", "é", "\xff", "", "a;b", "//evil.example/", "@evil.example", "\x00", "\u2028", strings.Repeat("x", 5000)} {
		f.Add("acme", s)
		f.Add(s, "7")
	}
	f.Fuzz(func(t *testing.T, who, id string) {
		out, err := tpl.expand(t.Context(), map[string]any{"tenant": who, "args": map[string]any{"id": id}})
		if err != nil {
			return
		}
		u, err := url.Parse(out)
		if err != nil {
			t.Fatalf("%q and %q make %q: %v", who, id, out, err)
		}
		segments := strings.Split(u.EscapedPath(), "/")
		if u.Scheme != "https" || u.Host != who+".api.example" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
			t.Fatalf("%q and %q make %q", who, id, out)
		}
		if len(segments) != 5 || segments[1] != "v1" || segments[4] != "end" || !strings.HasPrefix(segments[3], "x-") || !strings.HasSuffix(segments[3], "-y") {
			t.Fatalf("%q makes the path %q", id, segments)
		}
		if plain, err := url.PathUnescape(segments[2]); err != nil || plain != id || plain == "." || plain == ".." {
			t.Errorf("%q is sent as %q, %v", id, plain, err)
		}
		if strings.ContainsFunc(out, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			t.Errorf("%q makes %q", id, out)
		}
	})
}

// FuzzTemplate checks that a URL of a definition or an OpenAPI document compiles only
// if its fixed parts name one host and leave no segment.
//
// Holds: document/url-template
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"https://a.example/{args.x}", "https://{tenant}.a.example/", "https://{args.x}.example/", "https://a.example/../{args.x}", "https://a.example/{", "https://a.example/}",
		"https://a.example/{{}}", `https://a.example/{"}"}`, "https://u@a.example/", "https://a.example:{args.x}/", "http://127.0.0.1:80/{args.x}", "https://a.example/%2e%2e/", "https:/{args.x}", "{args.x}",
		"https://a.example" + strings.Repeat("/{args.x}", 200), "https://a.example/{" + strings.Repeat("{", 500)} {
		f.Add(s)
	}
	tenant := expr.Variable{Name: "tenant", Type: expr.String}
	host, err := expr.New(tenant)
	if err != nil {
		f.Fatal(err)
	}
	path, err := expr.New(tenant, expr.Variable{Name: "args", Type: expr.Texts})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tpl, err := parseTemplate(text, host, path)
		if err != nil {
			return
		}
		hosts := make(map[string]bool)
		for _, value := range []string{"x", "a/../b", "@evil.example", "evil.example/", "1"} {
			out, err := tpl.expand(t.Context(), map[string]any{"tenant": "acme", "args": map[string]any{"x": value}})
			if err != nil {
				continue
			}
			u, err := url.Parse(out)
			if err != nil || u.Host == "" || u.User != nil {
				t.Fatalf("%q makes %q: %v", text, out, err)
			}
			hosts[u.Scheme+"://"+u.Host] = true
		}
		if len(hosts) > 1 {
			t.Errorf("%q leads to %v, by what the caller sends", text, hosts)
		}
	})
}
