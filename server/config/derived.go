package config

import (
	"crypto/tls"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/kms"
)

// MarkFile returns the file of the state database's high-water mark.
func (c *Config) MarkFile() string {
	if c.HighWater != "" {
		return string(c.HighWater)
	}
	return filepath.Join(string(c.State), "highwater.json")
}

// Version returns the crypto/tls number of minVersion.
func (t *TLS) Version() (uint16, bool) {
	switch t.MinVersion {
	case "1.3":
		return tls.VersionTLS13, true
	case "1.2":
		return tls.VersionTLS12, true
	}
	return 0, false
}

// curves are the key exchanges that can be asked for, by their names in the TLS
// registry. The first three resist a quantum computer.
var curves = map[string]tls.CurveID{
	"X25519MLKEM768":     tls.X25519MLKEM768,
	"SecP256r1MLKEM768":  tls.SecP256r1MLKEM768,
	"SecP384r1MLKEM1024": tls.SecP384r1MLKEM1024,
	"X25519":             tls.X25519,
	"P-256":              tls.CurveP256,
	"P-384":              tls.CurveP384,
	"P-521":              tls.CurveP521,
}

// CurveIDs returns the curves as crypto/tls numbers them; nil where the
// configuration names none.
func (t *TLS) CurveIDs() []tls.CurveID {
	var ids []tls.CurveID
	for _, name := range t.Curves {
		ids = append(ids, curves[name])
	}
	return ids
}

// WeakKeys returns the kinds of weak client keys that are taken all the same.
func (t *TLS) WeakKeys() []pki.WeakKey {
	var kinds []pki.WeakKey
	for _, name := range t.WeakClientKeys {
		kinds = append(kinds, pki.WeakKey(name))
	}
	return kinds
}

// Files names the files of certificate, key and clients' CAs. Key is empty where
// it is no file; see [TLS.KeyURI].
func (t *TLS) Files() pki.Files {
	f := pki.Files{Cert: string(t.Cert), KeyPasswordFile: string(t.KeyPasswordFile), ClientCA: Strings(t.ClientCA)}
	if t.KeyURI() == "" {
		f.Key = string(t.Key)
	}
	return f
}

// Files names the files of certificate, key and clients' CAs.
func (t *AdminTLS) Files() pki.Files {
	return pki.Files{Cert: string(t.Cert), Key: string(t.Key), KeyPasswordFile: string(t.KeyPasswordFile), ClientCA: Strings(t.ClientCA)}
}

// Paths returns the files and folders to watch, of nil none.
func (t *AdminTLS) Paths() []string {
	if t == nil {
		return nil
	}
	return slices.DeleteFunc(t.Files().Paths(), func(p string) bool { return p == "" })
}

// KeyURI returns the KMS URI that stands as key, or "". It may hold a PIN.
func (t *TLS) KeyURI() string {
	if kms.IsURI(string(t.Key)) {
		return string(t.Key)
	}
	return ""
}

// Paths returns the files and folders to watch.
func (t *TLS) Paths() []string {
	paths := Strings(t.ClientCA)
	if t.StepCA == nil && t.SPIFFE == nil {
		paths = t.Files().Paths()
	}
	if r := t.Revocation; r != nil {
		files, _ := r.Lists()
		paths = append(paths, files...)
		if r.Denylist != "" {
			paths = append(paths, string(r.Denylist))
		}
	}
	return paths
}

// Lists returns the CRLs by where they are.
func (r *Revocation) Lists() (files, urls []string) {
	for _, list := range r.CRL {
		if strings.Contains(string(list), "://") {
			urls = append(urls, string(list))
		} else {
			files = append(files, string(list))
		}
	}
	return files, urls
}

// AsksOCSP reports whether responders are asked about clients.
func (r *Revocation) AsksOCSP() bool { return r.OCSP == "soft" || r.OCSP == "hard" }

// SlogLevel returns the level as slog has it.
func (l *Log) SlogLevel() (slog.Level, error) {
	var level slog.Level
	err := level.UnmarshalText([]byte(l.Level))
	return level, err
}

// Equal reports whether both say the same. What is derived from a file is equal
// where the file is.
func (c *Config) Equal(other *Config) bool {
	a, b := *c, *other
	a.Table, b.Table, a.AdminTable, b.AdminTable, a.ProxySet, b.ProxySet = nil, nil, nil, nil, nil, nil
	return reflect.DeepEqual(a, b)
}
