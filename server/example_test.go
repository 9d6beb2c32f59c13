package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/sangate/sangate/server"
	"github.com/sangate/sangate/server/dev"
	"github.com/sangate/sangate/server/tool"
)

type Text struct {
	Text string `json:"text" jsonschema:"what to count the words of"`
}

type Count struct {
	Words int    `json:"words"`
	For   string `json:"for" jsonschema:"the tenant that asked"`
}

// serveWordCount runs a gate with one tool of its own.
func serveWordCount(ctx context.Context, opts server.Options) error {
	s, err := server.New(ctx, opts)
	if err != nil {
		return err
	}
	err = server.AddTool(s, "word_count", "Counts words.", func(ctx context.Context, in Text) (Count, error) {
		return Count{len(strings.Fields(in.Text)), tool.CallerFrom(ctx).Tenant}, nil
	})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// A gate with a tool of its own, called as a tenant of a development PKI whose
// `tools` allow it.
func ExampleAddTool() {
	ctx, stop := context.WithCancel(context.Background())
	dir, err := os.MkdirTemp("", "sangate")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := dev.Run(ctx, dev.Options{Dir: dir, CA: "127.0.0.1:0", Once: true}); err != nil {
		panic(err)
	}
	file := filepath.Join(dir, "sangate.yaml")
	config, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	allowed := strings.Replace(string(config), "- id: acme\n", "- id: acme\n    tools: {allow: [word_count]}\n", 1)
	if err := os.WriteFile(file, []byte(allowed), 0o600); err != nil {
		panic(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	done := make(chan error)
	go func() {
		done <- serveWordCount(ctx, server.Options{ConfigFile: file, Listener: listener, Overrides: []string{"admin=127.0.0.1:0"}})
	}()
	fmt.Println(callAs(dir, "acme", "https://"+listener.Addr().String()+"/tool/word_count/call", `{"text":"zero trust, one word too many"}`))
	stop()
	if err := <-done; err != nil {
		panic(err)
	}
	// Output: 200 {"words":6,"for":"acme"}
}

// callAs posts with a tenant's certificate and key out of a development folder.
func callAs(dir, tenant, url, body string) string {
	base := filepath.Join(dir, "clients", tenant)
	cert, err := tls.LoadX509KeyPair(base+".crt", base+".key")
	if err != nil {
		return err.Error()
	}
	key, err := os.ReadFile(base + ".token")
	if err != nil {
		return err.Error()
	}
	root, err := os.ReadFile(filepath.Join(dir, "root_ca.crt"))
	if err != nil {
		return err.Error()
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots}}}
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(key)))
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s", res.StatusCode, answer)
}
