package config

import (
	"bytes"
	"errors"
	"io"
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
// included. OpenAPI documents are not read. Overrides are "key=value" with a dotted
// key, as from --set. The error is [Problems].
func Load(file string, overrides []string) (*Config, error) { return open(file, overrides, false) }

// Check reads and checks a configuration file as Load does, and the OpenAPI documents
// that are files: a server leaves out the tools of a bad one.
func Check(file string, overrides []string) (*Config, error) { return open(file, overrides, true) }

func open(file string, overrides []string, documents bool) (*Config, error) {
	in, err := regularfile.Open(file, maxFile)
	if err != nil {
		return nil, Problems{{File: file, Message: plainError(err)}}
	}
	defer in.Close()
	c, err := parseFrom(file, in, overrides, documents)
	if changed := in.Unchanged(); err == nil && changed != nil { // its parts may be of two versions
		return nil, Problems{{File: file, Message: plainError(changed)}}
	}
	return c, err
}

func parse(file string, data []byte, overrides []string) (*Config, error) {
	return parseFrom(file, bytes.NewReader(data), overrides, false)
}

func parseFrom(file string, in io.Reader, overrides []string, documents bool) (*Config, error) {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, Problems{{File: file, Message: err.Error()}}
	}
	d := newDecoder(file, dir)
	d.documents = documents
	return d.load(in, overrides)
}

func (d *decoder) load(in io.Reader, overrides []string) (*Config, error) {
	c := defaults()
	whole := d.read(in, c)
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

// read decodes a YAML text over c, piece by piece. It reports false if that cannot be read as
// YAML or has so many problems that the rest was not read.
func (d *decoder) read(in io.Reader, c *Config) bool {
	pieces := newPieces(in, d.target)
	for {
		part, err := pieces.next()
		d.piece = part
		if err == io.EOF {
			return true
		}
		if e, ok := errors.AsType[*excess](err); ok {
			d.report(d.position(e.line, e.col), "%s", e.message)
			return false
		}
		if err != nil {
			d.report(place{file: d.file}, "%s", plainError(err))
			return false
		}
		if !d.document(part.text, c) || d.full() {
			return false
		}
	}
}

// document decodes one YAML document over c. It reports false if that cannot
// be read as YAML.
func (d *decoder) document(data []byte, c *Config) bool {
	if line, col, message := exceeded(data); message != "" {
		d.report(d.position(d.piece.lineOf(line), col), "%s", message)
		return false
	}
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		if ye, ok := errors.AsType[yaml.Error](err); ok && ye.GetToken() != nil {
			pos := ye.GetToken().Position
			// Not Error(), which prints the source in quadratic time.
			d.report(d.position(d.piece.lineOf(pos.Line), pos.Column), "%s", ye.GetMessage())
		} else {
			d.report(place{file: d.file}, "%s", plainError(err))
		}
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
	d.file, d.override, d.piece = "--set "+key, true, piece{first: 1}
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
	c.Secrets = d.redact.secrets()
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
