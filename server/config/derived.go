package config

import (
	"crypto/tls"
	"log/slog"
	"reflect"

	"github.com/sangate/sangate/pki"
)

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

// Files names what the gate's pki.Source is loaded from.
func (t *TLS) Files() pki.Files {
	return pki.Files{
		Cert: string(t.Cert), Key: string(t.Key), KeyPasswordFile: string(t.KeyPasswordFile),
		ClientCA: Strings(t.ClientCA),
	}
}

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
	a.Table, b.Table = nil, nil
	return reflect.DeepEqual(a, b)
}
