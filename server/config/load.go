package config

import (
	"errors"
	"net"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/sangate/sangate/pki/regularfile"
)

// maxFile bounds a configuration file: 100,000 tenants fit several times.
const maxFile = 64 << 20

// Load reads and checks a configuration file, certificates and keys it names
// included. Overrides are "key=value" with a dotted key, as from --set. The
// error is [Problems].
func Load(file string, overrides []string) (*Config, error) {
	data, err := regularfile.Read(file, maxFile)
	if err != nil {
		return nil, Problems{{File: file, Message: plainError(err)}}
	}
	return parse(file, data, overrides)
}

func parse(file string, data []byte, overrides []string) (*Config, error) {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, Problems{{File: file, Message: err.Error()}}
	}
	d := newDecoder(file, dir)
	c := defaults()
	whole := d.document(data, c)
	for _, o := range overrides {
		whole = d.set(o, c) && whole
	}
	c.redact = d.redact
	if whole { // else what is missing may stand behind what is not YAML
		d.check(c)
	}
	if len(d.problems) > 0 {
		return nil, d.redacted()
	}
	return c, nil
}

// document decodes one YAML document over c. It reports false where that cannot
// be read as YAML.
func (d *decoder) document(data []byte, c *Config) bool {
	if line, col, message := exceeded(data); message != "" {
		at := place{d.file, line, col}
		if d.override {
			at = place{file: d.file}
		}
		d.report(at, "%s", message)
		return false
	}
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		at, message := place{file: d.file}, plainError(err)
		if ye, ok := errors.AsType[yaml.Error](err); ok && ye.GetToken() != nil {
			message = ye.GetMessage()
			if pos := ye.GetToken().Position; !d.override {
				at.line, at.col = pos.Line, pos.Column
			}
		}
		d.report(at, "%s", message)
		return false
	}
	bodies := make([]ast.Node, 0, 1)
	for _, doc := range tree.Docs {
		if doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	switch len(bodies) {
	case 0:
	case 1:
		d.decode(bodies[0], reflect.ValueOf(c).Elem(), "")
	default:
		d.report(d.at(bodies[1]), "a second document; one file holds one configuration")
		return false
	}
	return true
}

// set decodes "a.b=value" as if the file said so at its end.
func (d *decoder) set(text string, c *Config) bool {
	key, value, ok := strings.Cut(text, "=")
	d.file, d.override = "--set "+key, true
	if !ok || key == "" {
		d.report(d.at(nil), "write key=value")
		return true
	}
	if strings.Count(key, ".") >= maxDepth {
		d.file = "--set"
		d.report(d.at(nil), "key nested deeper than %d levels", maxDepth)
		return false
	}
	indent := "\n"
	for range strings.Count(key, ".") {
		indent += " "
		key = strings.Replace(key, ".", ":"+indent, 1)
	}
	return d.document([]byte(key+": "+value), c)
}

func (d *decoder) check(c *Config) {
	for path, addr := range map[string]string{"listen": c.Listen, "admin": c.Admin} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			d.failAt(path, "%s %q: write host:port", path, addr)
		}
	}
	if c.State == "" {
		d.failAt("state", "state is missing: name a folder for the state store, such as /var/lib/sangate")
	} else if strings.Contains(string(c.State), "://") {
		d.failAt("state", "state %q: only a folder is supported", c.State)
	}
	d.checkTLS(&c.TLS)
	d.checkAdminTLS(c.AdminTLS)
	d.checkLimits(&c.Limits)
	if c.Log.Format != "json" && c.Log.Format != "text" {
		d.failAt("log.format", "log.format %q: use json or text", c.Log.Format)
	}
	if _, err := c.Log.SlogLevel(); err != nil {
		d.failAt("log.level", "log.level %q: use debug, info, warn or error", c.Log.Level)
	}
	if c.Audit != nil && c.Audit.File == "" {
		d.failAt("audit", "audit.file is missing: name a file, or \"-\" for standard output")
	}
	if c.Audit != nil && (c.Audit.MaxBytes < 0 || c.Audit.Backups < 0) {
		d.failAt("audit", "audit.maxBytes and audit.backups must not be negative")
	}
	d.checkTenants(c)
	d.checkAdmins(c)
	d.checkRing(c)
	d.checkProxies(c)
	d.checkEgress(&c.Egress)
	d.checkIssuers(c)
	d.checkCredentials(c.Credentials)
	d.checkMCPServers(c)
	d.checkTools(c)
	c.Secrets = d.secrets
	d.checkTracing(c.Tracing)
}

func (d *decoder) checkLimits(l *Limits) {
	if least := 16 << 10; l.MaxHandshakeBytes > 0 && l.MaxHandshakeBytes < least {
		d.failAt("limits.maxHandshakeBytes", "limits.maxHandshakeBytes must be at least %d: a chain of certificates has to fit", least)
	}
	d.checkBounds("limits", reflect.ValueOf(l).Elem())
}

// checkBounds reports the fields of v, at a path, that are no bound.
func (d *decoder) checkBounds(path string, v reflect.Value) {
	for i := range v.NumField() {
		name := path + "." + v.Type().Field(i).Tag.Get("yaml")
		switch f := v.Field(i); {
		case f.Kind() == reflect.Struct:
			d.checkBounds(name, f)
		case (f.CanInt() && f.Int() <= 0) || (f.CanUint() && f.Uint() == 0):
			d.failAt(name, "%s must be more than 0: everything is bounded", name)
		case f.CanFloat() && !(f.Float() > 0 && f.Float() <= 1):
			d.failAt(name, "%s must be a share of maxConnections: more than 0, at most 1", name)
		}
	}
}

// plainError puts an error of several lines on one.
func plainError(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
