package spiffe_test

import (
	"strings"
	"testing"

	"github.com/sangate/sangate/pki/spiffe"
)

func TestOptions(t *testing.T) {
	const unix = "unix:///run/agent.sock"
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", "")
	tests := []struct {
		name string
		opts spiffe.Options
		say  string // in the error; empty: none
	}{
		{"unix", spiffe.Options{Address: unix}, ""},
		{"tcp", spiffe.Options{Address: "tcp://127.0.0.1:8000"}, ""},
		{"IPv6", spiffe.Options{Address: "tcp://[::1]:8000"}, ""},
		{"ID", spiffe.Options{Address: unix, ID: gateID}, ""},
		{"hint", spiffe.Options{Address: unix, Hint: "external"}, ""},
		{"federated", spiffe.Options{Address: unix, Federated: []string{"a.example", "spiffe://b.example"}}, ""},
		{"no address", spiffe.Options{}, "SPIFFE_ENDPOINT_SOCKET"},
		{"path alone", spiffe.Options{Address: "/run/agent.sock"}, "scheme"},
		{"two slashes", spiffe.Options{Address: "unix://run/agent.sock"}, "three slashes"},
		{"opaque", spiffe.Options{Address: "unix:agent.sock"}, "opaque"},
		{"name for address", spiffe.Options{Address: "tcp://localhost:8000"}, "IP:port"},
		{"no port", spiffe.Options{Address: "tcp://127.0.0.1"}, "port"},
		{"https", spiffe.Options{Address: "https://127.0.0.1:8000"}, "scheme"},
		{"query", spiffe.Options{Address: unix + "?x=y"}, "query"},
		{"bad ID", spiffe.Options{Address: unix, ID: "https://example.org/gate"}, "https://example.org/gate"},
		{"ID of a domain", spiffe.Options{Address: unix, ID: "spiffe://example.org"}, "no path"},
		{"long ID", spiffe.Options{Address: unix, ID: gateID + strings.Repeat("e", 2048)}, "longer"},
		{"ID and hint", spiffe.Options{Address: unix, ID: gateID, Hint: "external"}, "choose"},
		{"bad domain", spiffe.Options{Address: unix, Federated: []string{"UPPER.example"}}, "UPPER.example"},
		{"long domain", spiffe.Options{Address: unix, Federated: []string{strings.Repeat("e", 256)}}, "longer"},
		{"many domains", spiffe.Options{Address: unix, Federated: make([]string, 101)}, "at most 100"},
	}
	for _, tt := range tests {
		_, err := spiffe.New(tt.opts)
		switch {
		case tt.say == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.say != "" && (err == nil || !strings.Contains(err.Error(), tt.say) || !strings.HasPrefix(err.Error(), "spiffe: ")):
			t.Errorf("%s: %v; want %q in it", tt.name, err, tt.say)
		}
	}
	if _, err := spiffe.New(spiffe.Options{Address: "x", ID: "y", Federated: []string{"Z"}}); strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not every error at once: %v", err)
	}
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", unix)
	if _, err := spiffe.New(spiffe.Options{}); err != nil {
		t.Errorf("from the environment: %v", err)
	}
}
