// Package console shows a running gate to people: what is in force, who comes, and
// who is refused and why. It is read-only, shows no secret, and works without
// scripts; with them the views follow what happens.
//
// What peers send is on these pages, so all of it goes through html/template, and a
// strict Content-Security-Policy stands behind that.
package console

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/sangate/sangate/docs"
)

//go:embed views assets
var files embed.FS

// Bounds of what a view lists, and of how many are open.
const (
	maxRows   = 200
	maxOpen   = 32
	lookEvery = time.Second
)

// A Console serves the views.
type Console struct {
	source  Source
	pages   map[string]*template.Template // by path
	open    chan struct{}                 // one for each view that follows
	looks   looks
	handler http.Handler
}

// A view is one page.
type view struct {
	Path, Title string
	data        func(s Source, q string) any
}

var views = []view{
	{"/", "Overview", func(s Source, _ string) any { return s.Overview() }},
	{"/refusals", "Refusals", func(s Source, q string) any { return s.Refusals.List(q) }},
	{"/certificates", "Certificates", func(s Source, _ string) any { return s.Trust() }},
	{"/tenants", "Tenants", func(s Source, q string) any { return s.Tenants(q, maxRows) }},
	{"/connections", "Connections", func(s Source, _ string) any { return s.Connections(maxRows) }},
	{"/upstreams", "Upstreams", func(s Source, _ string) any { return s.Upstreams() }},
	{"/documents", "Documents", func(s Source, _ string) any { return s.Documents() }},
	{"/reasons", "Reasons", func(Source, string) any {
		return map[string]any{"Reasons": docs.Reasons(), "Answers": docs.Answers()}
	}},
}

// New makes a console over a source.
func New(source Source) *Console {
	c := &Console{source: source, pages: make(map[string]*template.Template), open: make(chan struct{}, maxOpen), looks: looks{by: make(map[lookKey]look)}}
	base := template.Must(template.New("").Funcs(c.funcs()).ParseFS(files, "views/layout.html", "views/parts.html"))
	mux := http.NewServeMux()
	for _, v := range views {
		name := strings.ToLower(v.Title)
		c.pages[v.Path] = template.Must(template.Must(base.Clone()).ParseFS(files, "views/"+name+".html"))
		pattern := v.Path
		if pattern == "/" {
			pattern = "/{$}"
		}
		mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, r *http.Request) { c.page(w, r, v) })
	}
	assets, err := fs.Sub(files, "assets")
	if err != nil {
		panic(err) // it is embedded
	}
	mux.Handle("GET /assets/{name}", http.StripPrefix("/assets/", http.FileServerFS(assets)))
	mux.HandleFunc("GET /live", c.live)
	c.handler = mux
	return c
}

// ServeHTTP serves the views, for GET and HEAD.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	c.handler.ServeHTTP(w, r)
}

func (c *Console) page(w http.ResponseWriter, r *http.Request, v view) {
	query := filter(r)
	var b bytes.Buffer
	var err error
	if c.source.Turn(r.Context(), func() {
		err = c.pages[v.Path].ExecuteTemplate(&b, "layout", map[string]any{
			"Views": views, "View": v, "Query": query, "Version": c.source.Version, "Data": v.data(c.source, query)})
	}) != nil {
		return // who asked is gone
	}
	if err != nil {
		http.Error(w, "The view failed: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = b.WriteTo(w) // who asked may be gone
}

// filter is what a view is narrowed to.
func filter(r *http.Request) string {
	q := strings.TrimSpace(r.URL.Query().Get("q"))
	return q[:min(len(q), 100)]
}

// funcs are what the templates call beside the data.
func (c *Console) funcs() template.FuncMap {
	reasons, answers := byName(docs.Reasons()), byName(docs.Answers())
	return template.FuncMap{
		"left":   func(t time.Time) string { return Span(t.Sub(c.source.Now())) },
		"since":  func(t time.Time) string { return Span(c.source.Now().Sub(t)) },
		"stamp":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") },
		"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"over":   func(t time.Time) bool { return !t.After(c.source.Now()) },
		"bar":    func(cert Certificate) bar { return barOf(cert, c.source.Now()) },
		"reason": func(name string) docs.Entry { return reasons[name] },
		"answer": func(code string) docs.Entry { return answers[code] },
		"dict": func(pairs ...any) map[string]any {
			out := map[string]any{}
			for i := 0; i+1 < len(pairs); i += 2 {
				out[pairs[i].(string)] = pairs[i+1]
			}
			return out
		},
		"count": func(f float64) string { return fmt.Sprintf("%.0f", f) },
	}
}

// byName is what pages say of each reason, or each code of an answer, without marks.
func byName(entries []docs.Entry) map[string]docs.Entry {
	out := make(map[string]docs.Entry, len(entries))
	for _, e := range entries {
		for _, s := range []*string{&e.Means, &e.Client, &e.Gate, &e.Likely, &e.Do, &e.Alert} {
			*s = plain(*s)
		}
		out[e.Name] = e
	}
	return out
}

// plain is a sentence of a page without its marks.
func plain(s string) string { return strings.ReplaceAll(link.ReplaceAllString(s, "$1"), "`", "") }

var link = regexp.MustCompile(`\[([^\]]+)\]\([^)]*\)`)

// Span is a length of time as a person says it.
func Span(d time.Duration) string {
	switch d = d.Abs(); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// A bar is a certificate's lifetime, drawn from 0 to 1000.
type bar struct {
	Now, Renew int // Renew is 0 where nobody has planned one
	Level      string
}

func barOf(c Certificate, now time.Time) bar {
	life := c.NotAfter.Sub(c.NotBefore)
	at := func(t time.Time) int {
		if life <= 0 {
			return 1000
		}
		return int(min(max(1000*float64(t.Sub(c.NotBefore))/float64(life), 0), 1000))
	}
	b := bar{Now: at(now), Level: "good"}
	if !c.Renew.IsZero() {
		b.Renew = at(c.Renew)
	}
	switch {
	case !now.Before(c.NotAfter):
		b.Level = "bad"
	case b.Now >= 800, c.NotAfter.Sub(now) < 14*24*time.Hour && life > 30*24*time.Hour:
		b.Level = "late"
	}
	return b
}
