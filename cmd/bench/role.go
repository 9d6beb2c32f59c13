package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The program plays a part in a process of its own where roleVariable says so,
// so that what a server costs is the server's. The other variables say where.
const (
	roleVariable   = "SANGATE_BENCH_ROLE"
	dirVariable    = "SANGATE_BENCH_DIR"
	listenVariable = "SANGATE_BENCH_LISTEN"
	adminVariable  = "SANGATE_BENCH_ADMIN"
	plainVariable  = "SANGATE_BENCH_PLAIN"   // listen without TLS, too, for what stands in front
	ticketVariable = "SANGATE_BENCH_TICKETS" // take session tickets
)

// An answered is a recorded answer of the gate, which the bare handler gives.
type answered struct {
	Header http.Header
	Body   []byte
}

// play serves a part until the process is ended.
func play(role string) error {
	dir := os.Getenv(dirVariable)
	if role == "gate" {
		return profiled()
	}
	var handler http.Handler
	var err error
	switch role {
	case "bare":
		handler, err = bare(dir)
	case "sdk":
		handler = plainSDK()
	default:
		err = errors.New("no such role")
	}
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(dir, "root.crt"))
	if err != nil {
		return err
	}
	if !roots.AppendCertsFromPEM(pem) {
		return errors.New("root.crt holds no certificate")
	}
	ln, err := net.Listen("tcp", os.Getenv(listenVariable))
	if err != nil {
		return err
	}
	admin, err := net.Listen("tcp", os.Getenv(adminVariable))
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	if at := os.Getenv(plainVariable); at != "" {
		plain, err := net.Listen("tcp", at)
		if err != nil {
			return err
		}
		go func() { failed <- http.Serve(plain, handler) }()
	}
	go func() { failed <- http.Serve(admin, promhttp.Handler()) }()
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert},
		ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: os.Getenv(ticketVariable) == ""}}
	go func() { failed <- server.ServeTLS(ln, "", "") }()
	return <-failed
}

// bare reads the request and gives the gate's recorded answer for its path.
func bare(dir string) (http.Handler, error) {
	data, err := os.ReadFile(filepath.Join(dir, "answers.json"))
	if err != nil {
		return nil, err
	}
	var answers map[string]answered
	if err := json.Unmarshal(data, &answers); err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := answers[r.URL.Path]
		if _, err := io.Copy(io.Discard, r.Body); err != nil || !ok {
			http.Error(w, "no", http.StatusNotFound)
			return
		}
		h := w.Header()
		for name, values := range a.Header {
			h[name] = values
		}
		_, _ = w.Write(a.Body) // a client that has gone is counted by the client
	}), nil
}

type echo struct {
	Message string `json:"message"`
}

// plainSDK is the SDK's own server, with the tool that is measured.
func plainSDK() http.Handler {
	s := sdk.NewServer(&sdk.Implementation{Name: "bench", Version: "1"}, nil)
	sdk.AddTool(s, &sdk.Tool{Name: "echo", Description: "Returns the message it is given."},
		func(_ context.Context, _ *sdk.CallToolRequest, in echo) (*sdk.CallToolResult, echo, error) {
			return nil, in, nil
		})
	return sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s },
		&sdk.StreamableHTTPOptions{Stateless: true, JSONResponse: true, DisableLocalhostProtection: true})
}

// nextPort is where a free one is looked for: below those that the system gives to
// clients, of which there are thousands here, one of which could be quicker.
var nextPort = 20_000 + os.Getpid()%5_000

// freeAddress is a port of loopback that nobody listens on.
func freeAddress() (string, error) {
	for range 1000 {
		nextPort++
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", nextPort))
		if err == nil {
			return ln.Addr().String(), ln.Close()
		}
	}
	return "", errors.New("no free port between 20,000 and 26,000")
}
