package config

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/egress"
)

// An MCPServer is an upstream whose tools pass through the gate. The first seven
// names are those of an Octopus agent.
type MCPServer struct {
	Name         string   `yaml:"name"`
	BaseURL      string   `yaml:"baseUrl"`
	CredentialID int64    `yaml:"credentialId"` // 0: it wants none
	TimeoutMs    int64    `yaml:"timeoutMs"`    // of one exchange; 30000 where 0
	Enabled      bool     `yaml:"enabled" default:"true"`
	ToolFilter   []string `yaml:"toolFilter"` // names or globs, as the upstream has them; all where empty
	Description  string   `yaml:"description"`

	Prefix            string             `yaml:"prefix"`   // before the name of each tool
	Protocol          string             `yaml:"protocol"` // mcp, octopus or stdio; found out where empty
	Command           []string           `yaml:"command"`  // of stdio, with its arguments
	Env               map[string]string  `yaml:"env"`      // of the command; the gate's own is not passed on
	CredentialEnv     string             `yaml:"credentialEnv"`
	Refresh           time.Duration      `yaml:"refresh"` // of what it offers
	CAFile            Path               `yaml:"caFile"`
	ClientCertificate *ClientCertificate `yaml:"clientCertificate"`

	CA      string   `yaml:"-"` // what stands in CAFile
	Secrets []string `yaml:"-"` // values above that the upstream must not repeat
}

// The protocols of an upstream.
const (
	ProtocolMCP     = "mcp"
	ProtocolOctopus = "octopus"
	ProtocolStdio   = "stdio"
)

// Timeout is that of one exchange.
func (m *MCPServer) Timeout() time.Duration { return time.Duration(m.TimeoutMs) * time.Millisecond }

var (
	serverName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	toolPrefix = regexp.MustCompile(`^[A-Za-z0-9_.-]{0,63}$`)
	envName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (d *decoder) checkMCPServers(c *Config) {
	names := make(map[string]bool)
	for n := range c.MCPServers {
		m := &c.MCPServers[n]
		at := fmt.Sprintf("mcpServers[%d]", n)
		bad := func(key, format string, args ...any) { d.failAt(at+"."+key, key+": "+format, args...) }
		m.TimeoutMs, m.Refresh = cmp.Or(m.TimeoutMs, 30_000), cmp.Or(m.Refresh, 5*time.Minute)
		switch {
		case !serverName.MatchString(m.Name):
			bad("name", "%q: use letters, digits, '.', '_' and '-', at most 63; it stands in logs and metrics", m.Name)
		case names[m.Name]:
			bad("name", "%q stands here twice", m.Name)
		}
		names[m.Name] = true
		if m.TimeoutMs < 1 || m.TimeoutMs > 600_000 {
			bad("timeoutMs", "%d: between 1 and 600000", m.TimeoutMs)
		}
		if m.Refresh < time.Second || m.Refresh > 24*time.Hour {
			bad("refresh", "%s: between 1s and 24h", m.Refresh)
		}
		for i, glob := range m.ToolFilter {
			if _, err := path.Match(glob, ""); err != nil || glob == "" {
				d.failAt(fmt.Sprintf("%s.toolFilter[%d]", at, i), "toolFilter %q: write the name of a tool, or a pattern such as search_*", glob)
			}
		}
		if !toolPrefix.MatchString(m.Prefix) {
			bad("prefix", "%q: it begins the names of tools: use letters, digits, '_', '.' and '-', at most 63", m.Prefix)
		}
		if m.CredentialID < 0 || (m.CredentialID > 0 && c.Credentials == nil) {
			bad("credentialId", "%d: say where credentials are: credentials: {kek: file:…}", m.CredentialID)
		}
		d.checkWay(m, bad)
		m.CA = d.readCA(at+".caFile", m.CAFile)
		m.Secrets = d.secretsOf(m)
		d.checkClientCertificate(m.ClientCertificate, at+".clientCertificate")
	}
}

// secretsOf returns the values in m that come from variables of the environment with
// the name of a secret, and those that the command gets in such variables.
func (d *decoder) secretsOf(m *MCPServer) []string {
	values := append([]string{m.BaseURL}, m.Command...)
	var out []string
	for name, value := range m.Env {
		values = append(values, value)
		if credential.SecretName(name) {
			out = append(out, value)
		}
	}
	for _, secret := range d.redact.secrets() {
		if slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, secret) }) {
			out = append(out, secret)
		}
	}
	slices.Sort(out) // the order of a map is no change of the configuration
	return slices.Compact(out)
}

// checkWay checks how an upstream is reached.
func (d *decoder) checkWay(m *MCPServer, bad func(key, format string, args ...any)) {
	if len(m.Command) > 0 && m.Protocol == "" {
		m.Protocol = ProtocolStdio
	}
	switch m.Protocol {
	case ProtocolStdio:
		if len(m.Command) == 0 || m.Command[0] == "" {
			bad("command", "name the program of a stdio server, and its arguments: [npx, \"@example/server\"]")
		}
		if m.BaseURL != "" || m.CAFile != "" || m.ClientCertificate != nil {
			bad("command", "a command goes without baseUrl, caFile and clientCertificate")
		}
		if (m.CredentialID != 0) != (m.CredentialEnv != "") || (m.CredentialEnv != "" && !envName.MatchString(m.CredentialEnv)) {
			bad("credentialEnv", "credentialId and credentialEnv go together: the variable that the command finds the secret in")
		}
	case "", ProtocolMCP, ProtocolOctopus:
		if err := egress.CheckURL(m.BaseURL); err != nil {
			bad("baseUrl", "%s", err)
		} else if strings.Contains(m.BaseURL, "?") {
			bad("baseUrl", "%s: a query is not taken; secrets go into a credential", egress.Named(m.BaseURL))
		}
		if len(m.Command) > 0 || len(m.Env) > 0 || m.CredentialEnv != "" {
			bad("command", "command, env and credentialEnv go with protocol stdio")
		}
	default:
		bad("protocol", "%q: use mcp, octopus or stdio, or leave it out", m.Protocol)
	}
	for name := range m.Env {
		if !envName.MatchString(name) {
			bad("env", "%q is no name of a variable", name)
		}
	}
}

// Takes reports whether the filter lets a tool of the upstream through.
func (m *MCPServer) Takes(name string) bool {
	if len(m.ToolFilter) == 0 {
		return true
	}
	for _, glob := range m.ToolFilter {
		if ok, err := path.Match(glob, name); ok && err == nil {
			return true
		}
	}
	return false
}
