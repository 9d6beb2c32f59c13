package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// documentCases are OpenAPI documents that become hostile while the server
// runs.
func documentCases() []kase {
	long := func(k kase) kase { k.long = true; return k } // too large for -short
	document := func(name string, build func() string) kase {
		return kase{name: "document/" + name, unit: "reload", units: 3, rate: 1, bounds: sourceBounds,
			setup: func(_ context.Context, s *stage) (string, error) {
				entry := fmt.Sprintf(`{name: pets, document: %s, operations: ["*"], baseUrl: "https://pets.example"}`, s.path("pets.json"))
				return "tools:\n  openapi:\n    - " + entry,
					os.WriteFile(s.path("pets.json"), []byte(openAPI(`{"type":"string"}`, "{}")), 0o600)
			},
			attack: func(ctx context.Context, a *arena) error {
				text := []byte(build())
				return a.rewrite(ctx, "pets.json", func(file string) error { return os.WriteFile(file, text, 0o600) })
			}}
	}
	nest := func(n int) string {
		return strings.Repeat(`{"type":"object","properties":{"a":`, n) + "{}" + strings.Repeat("}}", n)
	}
	return []kase{
		document("ref-circle", func() string {
			return openAPI(`{"$ref":"#/components/schemas/a"}`, `{"a":{"$ref":"#/components/schemas/b"},"b":{"$ref":"#/components/schemas/a"}}`)
		}),
		document("ref-self", func() string {
			return openAPI(`{"$ref":"#/components/schemas/a"}`, `{"a":{"$ref":"#/components/schemas/a"}}`)
		}),
		document("ref-circle-through-all-of", func() string {
			return openAPI(`{"$ref":"#/components/schemas/a"}`, `{"a":{"allOf":[{"$ref":"#/components/schemas/a"}]}}`)
		}),
		document("3000-levels", func() string { return openAPI(nest(3_000), "{}") }),
		document("10000-levels", func() string { return openAPI(nest(10_000), "{}") }),
		document("refs-2^40", func() string {
			var b strings.Builder
			for i := range 40 {
				fmt.Fprintf(&b, `"d%d":{"type":"object","properties":{"l":{"$ref":"#/components/schemas/d%d"},"r":{"$ref":"#/components/schemas/d%[2]d"}}},`, i, i+1)
			}
			return openAPI(`{"$ref":"#/components/schemas/d0"}`, "{"+b.String()+`"d40":{"type":"string"}}`)
		}),
		long(document("100mb", func() string {
			return openAPI(`{"type":"string","description":"`+strings.Repeat("x", 100_000_000)+`"}`, "{}")
		})),
		document("5mb-of-brackets", func() string { return strings.Repeat("[", 5_000_000) }),
		document("yaml-anchors", func() string {
			var b strings.Builder
			b.WriteString("openapi: 3.0.0\nx0: &x0 [a,a,a,a,a,a,a,a,a]\n")
			for i := range 12 {
				fmt.Fprintf(&b, "x%d: &x%[1]d [*x%[2]d,*x%[2]d,*x%[2]d,*x%[2]d,*x%[2]d,*x%[2]d,*x%[2]d,*x%[2]d,*x%[2]d]\n", i+1, i)
			}
			return b.String()
		}),
	}
}

// openAPI is a document with one operation whose argument has the schema.
func openAPI(schema, schemas string) string {
	return `{"openapi":"3.0.3","info":{"title":"t","version":"1"},"servers":[{"url":"https://pets.example"}],"paths":{"/p":{"get":` +
		`{"operationId":"getPet","parameters":[{"name":"a","in":"query","schema":` + schema + `}],"responses":{"200":{"description":"ok"}}}}},` +
		`"components":{"schemas":` + schemas + `}}`
}

// operatorCases are a configuration and a denylist that are replaced by what
// cannot be read.
func operatorCases() []kase {
	replaced := func(what, name, file string, put func(file string) error) kase {
		return kase{name: "operator/" + what + name, unit: "reload", units: 3, rate: 1, bounds: operatorBounds,
			attack: func(ctx context.Context, a *arena) error { return a.rewrite(ctx, file, put) }}
	}
	text := func(build func() []byte) func(file string) error {
		return func(file string) error { return os.WriteFile(file, build(), 0o600) }
	}
	fill := func(head, unit string) func(file string) error {
		return text(func() []byte { return append([]byte(head), bytes.Repeat([]byte(unit), 60_000_000/len(unit))...) })
	}
	fifo := func(file string) error { return syscall.Mkfifo(file, 0o600) }
	device := func(file string) error { return os.Symlink("/dev/zero", file) }
	config := func(name string, put func(file string) error) kase {
		return replaced("config-", name, "sangate.yaml", put)
	}
	denylist := func(name string, put func(file string) error) kase {
		k := replaced("denylist-", name, "denylist", put)
		k.setup = func(_ context.Context, s *stage) (string, error) {
			return "", os.WriteFile(s.path("denylist"), []byte("# none\n"), 0o600)
		}
		k.tls = "  revocation: {denylist: denylist}"
		return k
	}
	return []kase{
		config("200000-brackets", text(func() []byte { return []byte("a: " + strings.Repeat("[", 200_000)) })),
		config("200000-braces", text(func() []byte { return []byte("a: " + strings.Repeat("{a: ", 200_000)) })),
		config("200000-dashes", text(func() []byte { return []byte(strings.Repeat("- ", 200_000)) })),
		config("20000-indents", text(func() []byte {
			var b bytes.Buffer
			for i := range 1500 {
				b.WriteString(strings.Repeat(" ", i) + "a:\n")
			}
			return b.Bytes()
		})),
		config("200mb", func(file string) error {
			return os.WriteFile(file, bytes.Repeat([]byte("# comment\n"), 20_000_000), 0o600)
		}),
		config("fifo", fifo),
		config("device", device),
		config("folder", func(file string) error { return os.Mkdir(file, 0o700) }),
		config("unterminated-quotes", text(func() []byte { return []byte("a: " + strings.Repeat("\"'", 500_000)) })),
		config("100000-anchors", text(func() []byte { return []byte(strings.Repeat("a: &a *a\n", 100_000)) })),
		config("60mb-of-entries", fill("tenants:\n", "- 1\n")),
		config("60mb-of-documents", fill("", "---\na: b\n")),
		config("60mb-in-one-text", fill("listen: |\n", "  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n")),
		config("60mb-of-bad-tenants", fill("tenants:\n", "- {id: A, x: y}\n")),
		config("60mb-of-keys", func(file string) error {
			var b bytes.Buffer
			for i := range 4_000_000 {
				fmt.Fprintf(&b, "k%d: a\n", i)
			}
			return os.WriteFile(file, b.Bytes(), 0o600)
		}),
		denylist("fifo", fifo),
		denylist("device", device),
		denylist("200mb", func(file string) error {
			return os.WriteFile(file, bytes.Repeat([]byte("serial:1234567890abcdef\n"), 8_000_000), 0o600)
		}),
		denylist("60mb", func(file string) error { // 900,000 lines and a bad one
			line := []byte("sha256:" + strings.Repeat("0123456789abcdef", 4) + "\n")
			return os.WriteFile(file, append(bytes.Repeat(line, 800_000), "x\n"...), 0o600)
		}),
		denylist("one-line-of-100mb", func(file string) error { return os.WriteFile(file, bytes.Repeat([]byte("f"), 100_000_000), 0o600) }),
	}
}

// rewrite replaces a file of the stage by what put makes, and has the server
// read it, over and over.
func (a *arena) rewrite(ctx context.Context, name string, put func(file string) error) error {
	a.Workers = 1
	if a.Rate == 0 {
		a.pace.SetLimit(1) // a reload takes a while to be noticed
	}
	file := filepath.Join(a.Stage, name)
	return a.each(ctx, func(context.Context) {
		next := filepath.Join(a.Stage, "next")
		if os.RemoveAll(next) != nil || put(next) != nil {
			return
		}
		if os.Rename(next, file) != nil { // a folder does not replace a file
			_ = os.RemoveAll(file)
			_ = os.Rename(next, file)
		}
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", a.Pid))
		if err == nil && bytes.Contains(cmdline, []byte(a.Stage)) {
			_ = syscall.Kill(a.Pid, syscall.SIGHUP)
		}
	})
}
