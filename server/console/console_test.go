package console_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

var paths = []string{"/", "/refusals", "/certificates", "/tenants", "/connections", "/upstreams", "/documents", "/reasons"}

func get(t *testing.T, method, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// Whatever peers send stands on the pages as text, nothing on them is secret, and
// nothing can be changed.
func TestPages(t *testing.T) {
	g := lively(t)
	const script = `<script>alert("x")</script>`
	for _, leaf := range []pkitest.Leaf{
		{CommonName: script, URIs: []string{"spiffe://example.org/" + script}},
		{CommonName: script, DNS: []string{script}},
	} {
		call(t, g.Client(g.CA.Issue(t, leaf)), g.URL+"/tool/echo/call", script)
		call(t, g.Client(pkitest.NewCA(t, script).Issue(t, leaf)), g.URL+"/tools", "")
	}
	seen := false
	for _, path := range paths {
		res, body := get(t, http.MethodGet, g.AdminURL+path)
		if csp := res.Header.Get("Content-Security-Policy"); res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/html; charset=utf-8" ||
			!strings.HasPrefix(csp, "default-src 'none'; script-src 'self'; style-src 'self';") || strings.Contains(csp, "unsafe") || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %s %v", path, res.Status, res.Header)
		}
		if strings.Contains(body, "<script>") || strings.Contains(body, "style=") || strings.Contains(body, " on") && strings.Contains(body, "onload=") {
			t.Errorf("%s has script or style of its own:\n%s", path, body)
		}
		if bare := regexp.MustCompile(`<(table|thead|tbody|tr|th|td)(>| [^r])`).FindString(body); bare != "" {
			t.Errorf("%s: %s has no role: where it is drawn as a block, it is none to those who do not see it", path, bare)
		}
		seen = seen || strings.Contains(body, "&lt;script")
		for _, secret := range []string{g.Key("acme"), g.Key("globex"), "PRIVATE KEY", script} {
			if strings.Contains(body, secret) {
				t.Errorf("%s has %q", path, secret)
			}
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
			if res, _ := get(t, method, g.AdminURL+path); res.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %s", method, path, res.Status)
			}
		}
	}
	if !seen {
		t.Error("what they sent is nowhere; the test sees nothing")
	}
	for _, path := range []string{"/none", "/live", "/live?view=/none", "/assets/none", "/assets/", "/views/layout.html", "/assets/../console.go"} {
		if res, _ := get(t, http.MethodGet, g.AdminURL+path); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

// The stroke in the bar of the server's certificate stands where its renewal is
// planned, and nowhere without a plan.
func TestPlannedRenewal(t *testing.T) {
	stroke := regexp.MustCompile(`<line class="renew" x1="(\d+)" x2="(\d+)"`)
	for says, plan := range map[string]func() time.Time{"renewed in ": in(30 * time.Minute), "renewal was due ": in(-time.Second), "": nil} {
		g := servertest.Start(t, servertest.Options{NextRenewal: plan})
		_, body := get(t, http.MethodGet, g.AdminURL+"/certificates")
		if told := regexp.MustCompile(`renewed in |renewal was due `).FindString(body); told != says {
			t.Errorf("it says %q, want %q", told, says)
		}
		found := stroke.FindAllStringSubmatch(body, -1)
		if plan == nil {
			if len(found) != 0 {
				t.Errorf("a stroke without a plan: %q", found)
			}
			continue
		}
		text, err := os.ReadFile(filepath.Join(g.Dir, "server.crt"))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		want := strconv.Itoa(int(1000 * plan().Sub(cert.NotBefore) / cert.NotAfter.Sub(cert.NotBefore)))
		if len(found) != 1 || found[0][1] != want || found[0][2] != want {
			t.Errorf("the stroke is at %q, want %s", found, want)
		}
	}
}

// Why a configuration does not load is told without the secrets in it.
func TestOverviewOfABadConfiguration(t *testing.T) {
	var log strings.Builder
	g := servertest.Start(t, servertest.Options{Log: &log})
	g.Write("sangate.yaml", []byte("state: state\nmcpServers: [{name: a, baseUrl: \"https://user:S3cret@a.example\"}, {name: b, baseUrl: \"https://b.example/?key=S3cret\"}]\n"))
	g.Server.Reload()
	body := ""
	if !servertest.WaitFor(func() bool {
		_, body = get(t, http.MethodGet, g.AdminURL+"/")
		return strings.Contains(body, "does not load")
	}, 10*time.Second) {
		t.Fatal("nobody says that it does not load")
	}
	<-g.Stop()
	for where, text := range map[string]string{"the overview": body, "the log": log.String()} {
		if !strings.Contains(text, "baseUrl") || strings.Contains(text, "S3cret") {
			t.Errorf("%s has\n%s", where, text)
		}
	}
}

// Whatever stands on a view, all of it is in the data of one event.
func TestEventsAreWhole(t *testing.T) {
	g := servertest.Start(t, servertest.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.AdminURL+"/live?view=/tenants&q=a%0Dretry:%201%0D%0Db", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	stream := bufio.NewReader(res.Body)
	for n := 0; ; n++ {
		line, err := stream.ReadString('\n')
		if line == "\n" && n > 0 {
			return
		}
		if err != nil || !strings.HasPrefix(line, "data: ") || strings.Contains(line, "\r") {
			t.Fatalf("%v: %q", err, line)
		}
	}
}

// So many views are followed, and no more; one that is left makes room.
func TestFollowersAreBounded(t *testing.T) {
	g := servertest.Start(t, servertest.Options{})
	open := func() *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.AdminURL+"/live?view=/", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	var all []*http.Response
	for range 32 {
		res := open()
		all = append(all, res)
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%d: %s", len(all), res.Status)
		}
	}
	if res, _ := get(t, http.MethodHead, g.AdminURL+"/live?view=/"); res.StatusCode != http.StatusOK {
		t.Errorf("HEAD, which takes no place: %s", res.Status)
	}
	if res := open(); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more: %s", res.Status)
	} else {
		_ = res.Body.Close()
	}
	_ = all[0].Body.Close()
	if !servertest.WaitFor(func() bool {
		res := open()
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	}, 10*time.Second) {
		t.Error("nobody comes in the place of one that left")
	}
	for _, res := range all[1:] {
		_ = res.Body.Close()
	}
}
