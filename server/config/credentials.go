package config

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/kms"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/egress"
)

// Credentials says where the secrets are that the gate shows to what stands
// behind it. They are asked in this order.
type Credentials struct {
	KEK    string             `yaml:"kek"`   // of the encrypted store: file:PATH, env:NAME or a KMS URI
	Files  Path               `yaml:"files"` // a folder, such as a mounted Kubernetes secret
	Remote *RemoteCredentials `yaml:"remote"`
}

// RemoteCredentials is a service that speaks the Octopus Credentials API.
type RemoteCredentials struct {
	URL               string             `yaml:"url"`       // above the ids, such as https://octopus.internal/api/credentials
	TokenFile         Path               `yaml:"tokenFile"` // of its Bearer token
	CAFile            Path               `yaml:"caFile"`
	ClientCertificate *ClientCertificate `yaml:"clientCertificate"`
	Hold              time.Duration      `yaml:"hold"` // of an answer; 1m where 0

	CA string `yaml:"-"` // what stands in CAFile
}

// A ClientCertificate is what the gate shows to a server behind it. Files are read
// again when they have changed.
type ClientCertificate struct {
	Cert Path `yaml:"cert"`
	Key  Path `yaml:"key"`
	Gate bool `yaml:"gate"` // the gate's own, renewed as it is, in the place of files
}

func (d *decoder) checkCredentials(c *Credentials) {
	if c == nil {
		return
	}
	file, isFile := strings.CutPrefix(c.KEK, "file:")
	switch {
	case c.KEK == "":
	case isFile && file != "":
		if !filepath.IsAbs(file) {
			c.KEK = "file:" + filepath.Join(d.dir, file)
		}
	case !strings.HasPrefix(c.KEK, "env:") && !kms.IsURI(c.KEK):
		d.failAt("credentials.kek", "credentials.kek: write file:PATH, env:NAME or a KMS URI") // it may hold a PIN
	}
	if c.Files != "" {
		if info, err := os.Stat(string(c.Files)); err != nil || !info.IsDir() {
			d.failAt("credentials.files", "credentials.files: %s is no folder", string(c.Files))
		}
	}
	if c.KEK == "" && c.Files == "" && c.Remote == nil {
		d.failAt("credentials", "credentials: say where they are: kek for the encrypted store, files, or remote")
	}
	if r := c.Remote; r != nil {
		const at = "credentials.remote"
		if err := egress.CheckURL(r.URL); err != nil {
			d.failAt(at+".url", "url: %s", err)
		}
		if r.Hold == 0 {
			r.Hold = time.Minute
		}
		if r.Hold < 0 || r.Hold > time.Hour {
			d.failAt(at+".hold", "hold: %s: between 0s and 1h", r.Hold)
		}
		if r.TokenFile != "" {
			if _, err := os.Stat(string(r.TokenFile)); err != nil {
				d.failAt(at+".tokenFile", "tokenFile: %s", plainError(err))
			}
		}
		r.CA = d.readCA(at+".caFile", r.CAFile)
		d.checkClientCertificate(r.ClientCertificate, at+".clientCertificate")
	}
}

func (d *decoder) checkClientCertificate(c *ClientCertificate, at string) {
	switch {
	case c == nil:
	case c.Gate && (c.Cert != "" || c.Key != ""):
		d.failAt(at, "clientCertificate: gate goes without cert and key")
	case c.Gate:
	case c.Cert == "" || c.Key == "":
		d.failAt(at, "clientCertificate: name cert and key, or gate: true for the gate's own certificate")
	default:
		if _, err := (pki.Files{Cert: string(c.Cert), Key: string(c.Key)}).LoadCertificate(); err != nil {
			d.failAt(at, "clientCertificate: %s", plainError(err))
		}
	}
}

// Uses tells what in the configuration refers to a credential.
func (c *Config) Uses(info credential.Info) []string {
	var out []string
	for _, m := range c.MCPServers {
		if m.CredentialID == info.ID {
			out = append(out, "mcpServers "+m.Name)
		}
	}
	refers := func(name string, id int64) bool {
		byName := name != "" && name == info.Name && info.Tenant != "" && c.Table.Knows(info.Tenant)
		return byName || (id != 0 && id == info.ID)
	}
	for _, t := range c.Tools.HTTP {
		if refers(t.Credential, t.CredentialID) {
			out = append(out, "tool "+t.Name)
		}
	}
	for _, o := range c.Tools.OpenAPI {
		if refers(o.Credential, o.CredentialID) {
			out = append(out, "tools of "+o.Name)
		}
	}
	return out
}
