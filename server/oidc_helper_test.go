package server_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
)

// An oidcClient may ask a provider for tokens.
type oidcClient struct {
	ID       string         `json:"id"`
	Secret   string         `json:"secret"`
	Audience []string       `json:"audience"`
	Claims   map[string]any `json:"claims"`
}

// A provider is a real OpenID Provider in a process of its own.
type provider struct {
	issuer, control, ca string
	stop                func()

	t  *testing.T
	tr *http.Transport
}

// startProvider builds tools/oidc-provider and runs it until the test ends.
func startProvider(t *testing.T, lifetime time.Duration, clients ...oidcClient) *provider {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "oidc-provider")
	build := exec.Command("go", "build", "-C", "../tools", "-o", bin, "./oidc-provider")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the provider: %v\n%s", err, out)
	}
	ca := pkitest.NewCA(t, "Issuer CA")
	crt, key := ca.Issue(t, pkitest.Leaf{IPs: []string{"127.0.0.1"}}).Write(t, dir, "provider")
	p := &provider{t: t, ca: writeTemp(t, "issuer.crt", ca.PEM()), tr: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}}

	cmd := exec.Command(bin, "--cert", crt, "--key", key, "--lifetime", lifetime.String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		err = json.NewEncoder(in).Encode(clients)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.stop = sync.OnceFunc(func() {
		_ = in.Close() // it ends by that
		if err := cmd.Wait(); err != nil {
			t.Errorf("the provider: %v", err)
		}
	})
	t.Cleanup(p.stop)
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, scan := fmt.Sscan(line, &p.issuer, &p.control); err != nil || scan != nil {
		t.Fatalf("the provider says %q, %v", line, err)
	}
	return p
}

// config is what a gate takes its tokens by.
func (p *provider) config() string {
	return fmt.Sprintf("egress: {allow: [127.0.0.1]}\nissuers: [{name: real, issuer: %q, caFile: %q, audiences: [gate], scopes: [mcp.call], tenantClaim: tenant}]\n", p.issuer, p.ca)
}

// order has it do something.
func (p *provider) order(what string) {
	p.t.Helper()
	res, err := http.Post(p.control+"/"+what, "", nil)
	if err != nil || res.StatusCode != 200 {
		p.t.Fatalf("%s: %v, %v", what, res, err)
	}
	_ = res.Body.Close()
}

func (p *provider) fetches() (n int) {
	p.t.Helper()
	res, err := http.Get(p.control + "/fetches")
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := fmt.Fscan(res.Body, &n); err != nil {
		p.t.Fatal(err)
	}
	return n
}

// token asks for one with the client's credentials, over cert where it is not
// nil.
func (p *provider) token(c oidcClient, cert *pkitest.Cert) (string, error) {
	tr := p.tr
	if cert != nil {
		tr = p.tr.Clone()
		tr.TLSClientConfig.Certificates = []tls.Certificate{cert.TLS}
	}
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"mcp.call"}}
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.issuer+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(c.ID, c.Secret)
	res, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	var body struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(data, &body); err != nil || body.Token == "" {
		return "", fmt.Errorf("%s: %s", res.Status, data)
	}
	return body.Token, nil
}
