// Package config reads the gate's configuration file: YAML, camelCase, unknown
// keys refused. Everything wrong with a file is told at once, each with its
// file:line:col. What [Load] returns is whole and valid; there is no half of a
// configuration.
package config

import (
	"time"

	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/forwarded"
	"github.com/sangate/sangate/server/tenant"
)

// A Path is a file or folder; a relative one is meant from the folder of the
// configuration file.
type Path string

// A Config is a whole configuration. Not to be changed.
type Config struct {
	Listen     string    `yaml:"listen"`
	Admin      string    `yaml:"admin"`
	AdminHosts []string  `yaml:"adminHosts"` // names the admin listener is asked for by
	AdminPprof bool      `yaml:"adminPprof"` // serve profiles on the admin listener
	AdminTLS   *AdminTLS `yaml:"adminTLS"`   // nil: plain HTTP
	State      Path      `yaml:"state"`
	HighWater  Path      `yaml:"highWaterMark"` // file; "": one in State
	TLS        TLS       `yaml:"tls"`
	Tenants    []Tenant  `yaml:"tenants"`
	Issuers    []Issuer  `yaml:"issuers"`
	Admins     *Admins   `yaml:"admins"`
	Proxies    []Proxy   `yaml:"proxies"`
	Egress     Egress    `yaml:"egress"`

	Credentials *Credentials `yaml:"credentials"`
	MCPServers  []MCPServer  `yaml:"mcpServers"`
	// Secrets are values from variables of the environment with the name of a secret.
	Secrets []string `yaml:"-"`

	Tools Toolbox `yaml:"tools"`

	Limits Limits `yaml:"limits"`
	Log    Log    `yaml:"log"`
	Audit  *Audit `yaml:"audit"`

	Tracing *Tracing `yaml:"tracing"` // nil: none

	Table      *tenant.Table      `yaml:"-"` // of Tenants
	ProxySet   *forwarded.Proxies `yaml:"-"` // of Proxies; nil where there are none
	AdminTable *tenant.Table      `yaml:"-"` // of Admins; nobody's where there are none
	Keys       []apikey.Entry     `yaml:"-"` // those that stand in the file

	redact redactor `yaml:"-"`
}

// AdminTLS is the admin listener's; without cert and key it shows the gate's own.
type AdminTLS struct {
	Cert            Path   `yaml:"cert"`
	Key             Path   `yaml:"key"`
	KeyPasswordFile Path   `yaml:"keyPasswordFile"`
	ClientCA        []Path `yaml:"clientCA"` // who comes shows a certificate of theirs; empty: none is asked for
}

// TLS is the main listener's.
type TLS struct {
	Cert            Path        `yaml:"cert"`
	Key             Path        `yaml:"key"` // a file, or a KMS URI
	KeyPasswordFile Path        `yaml:"keyPasswordFile"`
	ClientCA        []Path      `yaml:"clientCA"`
	MinVersion      string      `yaml:"minVersion"` // "1.2" or "1.3"
	SessionTickets  bool        `yaml:"sessionTickets"`
	Curves          []string    `yaml:"curves"`         // key exchanges to take, in any order
	WeakClientKeys  []string    `yaml:"weakClientKeys"` // kinds of weak client keys to take all the same
	Revocation      *Revocation `yaml:"revocation"`
	StepCA          *StepCA     `yaml:"stepCA"` // instead of cert and key
	SPIFFE          *SPIFFE     `yaml:"spiffe"` // instead of either
}

// Revocation says where the gate learns whose certificate was taken back.
type Revocation struct {
	CRL      []Path `yaml:"crl"`     // files, or http and https URLs
	CRLMode  string `yaml:"crlMode"` // hard: without a current list nobody gets in; or soft
	Denylist Path   `yaml:"denylist"`

	OCSP          string `yaml:"ocsp"`          // none; soft: who is known to be revoked is refused; or hard: who is not known to be good
	OCSPResponder string `yaml:"ocspResponder"` // asked about everybody; where empty, whom the certificate names
}

// SPIFFE has the gate's certificate and the bundles come from the Workload API.
type SPIFFE struct {
	Socket    string   `yaml:"socket"`    // unix:///… or tcp://ip:port; SPIFFE_ENDPOINT_SOCKET where empty
	ID        string   `yaml:"id"`        // the SVID to take; the agent's first where empty
	Federated []string `yaml:"federated"` // trust domains whose bundles are taken beside our own
}

// StepCA has the gate get its certificate from a step-ca and keep it alive.
type StepCA struct {
	URL          string   `yaml:"url"`
	Fingerprint  string   `yaml:"fingerprint"` // SHA-256 of the root, hexadecimal
	Provisioner  string   `yaml:"provisioner"`
	TokenFile    Path     `yaml:"tokenFile"`    // a one-time token, or
	PasswordFile Path     `yaml:"passwordFile"` // a JWK provisioner's password, or
	X5C          *X5C     `yaml:"x5c"`
	ACME         *ACME    `yaml:"acme"`
	SANs         []string `yaml:"sans"`
	RenewAt      float64  `yaml:"renewAt"`   // share of the lifetime
	RenewMode    string   `yaml:"renewMode"` // rekey or renew
	KeyType      string   `yaml:"keyType"`
	KeyURI       string   `yaml:"keyURI"`      // of a key in a KMS, which is then kept; made where there is none
	ClientRoots  bool     `yaml:"clientRoots"` // trust its roots for clients beside clientCA
	Federation   bool     `yaml:"federation"`  // and those it is federated with
}

// X5C enrols by a certificate that an X5C provisioner trusts.
type X5C struct {
	Cert Path `yaml:"cert"`
	Key  Path `yaml:"key"`
}

// ACME enrols by proving control of the names; one of the addresses is needed.
type ACME struct {
	Contact string `yaml:"contact"`
	HTTP    string `yaml:"http"` // host:port to answer http-01 on
	TLS     string `yaml:"tls"`  // host:port to answer tls-alpn-01 on
}

// A Tenant is one entry of tenants.
type Tenant struct {
	ID           string   `yaml:"id"`
	Enabled      bool     `yaml:"enabled" default:"true"`
	SANs         []string `yaml:"sans"`
	SecondFactor string   `yaml:"secondFactor"`
	Keys         []Key    `yaml:"keys"`
	Tools        *Tools   `yaml:"tools"`
	Limits       *Share   `yaml:"limits"`

	Vars map[string]string `yaml:"vars"` // what declared tools know of it as tenant.vars
}

// A Share is what a tenant may ask for as a whole, and each identity of it. 0 is no
// limit of the rate, and the default in [Limits] of everything else.
type Share struct {
	RequestsPerSecond float64 `yaml:"requestsPerSecond"`
	Burst             int     `yaml:"burst"`
	Concurrent        int     `yaml:"concurrent"`
	Streams           int     `yaml:"streams"`
	Connections       int     `yaml:"connections"`
	PerIdentity       *Rate   `yaml:"perIdentity"`
}

// A Rate is what one identity may ask for.
type Rate struct {
	RequestsPerSecond float64 `yaml:"requestsPerSecond"`
	Burst             int     `yaml:"burst"`
	Concurrent        int     `yaml:"concurrent"`
	Streams           int     `yaml:"streams"`
}

// Admins are who may use /api.
type Admins struct {
	SANs         []string `yaml:"sans"`
	SecondFactor string   `yaml:"secondFactor"`
	Keys         []Key    `yaml:"keys"`
}

// A Proxy ends TLS in front of the gate, and says whose certificate it was shown.
type Proxy struct {
	SANs   []string `yaml:"sans"`   // rules that the proxy's own certificate fits
	Header string   `yaml:"header"` // clientCert (RFC 9440) or xfcc
}

// A Key is an API key by its digest.
type Key struct {
	ID        string    `yaml:"id"`
	SHA256    string    `yaml:"sha256"`      // hexadecimal, of the whole key
	SAN       string    `yaml:"san"`         // a SAN rule: good with certificates that fit only
	Cert      string    `yaml:"certificate"` // SHA-256 of the one certificate it is good with
	NotBefore time.Time `yaml:"notBefore"`
	NotAfter  time.Time `yaml:"notAfter"`
}

// Tools is a tenant's tool policy.
type Tools struct {
	Allow []string `yaml:"allow"`
	Deny  []string `yaml:"deny"`

	Condition string `yaml:"condition"` // expression over args, tool, tenant, identity and token
}

// Limits bound what peers can ask for.
type Limits struct {
	MaxHeaderBytes    int           `yaml:"maxHeaderBytes"`
	MaxBodyBytes      int64         `yaml:"maxBodyBytes"`
	HandshakeTimeout  time.Duration `yaml:"handshakeTimeout"`
	HelloTimeout      time.Duration `yaml:"helloTimeout"`         // to the first byte, and from there to the whole ClientHello
	MaxSilent         int           `yaml:"maxSilentConnections"` // without a whole ClientHello
	SilentPerAddress  int           `yaml:"silentPerAddress"`     // of those, from one IPv4 address or IPv6 /64
	MaxHandshakes     int           `yaml:"maxHandshakes"`        // in flight
	MaxHandshakeBytes int           `yaml:"maxHandshakeBytes"`    // that a client may send in one
	MaxConnections    int           `yaml:"maxConnections"`       // open
	TenantShare       float64       `yaml:"tenantShare"`          // of maxConnections, for one tenant
	IdentityShare     float64       `yaml:"identityShare"`        // of maxConnections, for one identity
	MaxUnmapped       int           `yaml:"unmappedConnections"`  // of certificates that map to no tenant
	MaxConnectionAge  time.Duration `yaml:"maxConnectionAge"`
	ConnectionGrace   time.Duration `yaml:"connectionGrace"` // for what is in progress at that age
	IdleTimeout       time.Duration `yaml:"idleTimeout"`
	ToolTimeout       time.Duration `yaml:"toolTimeout"`
	DrainTimeout      time.Duration `yaml:"drainTimeout"`
	MaxStreamsPerConn uint32        `yaml:"maxStreamsPerConnection"`
	StallTimeout      time.Duration `yaml:"stallTimeout"` // for which a client may take nothing of its answers
	UnreadBytes       int64         `yaml:"unreadBytes"`  // of answers that clients have not read
	RequestBytes      int64         `yaml:"requestBytes"` // of memory for requests' bodies and what is decoded from them
	PerTenant         Defaults      `yaml:"perTenant"`
	PerIdentity       Defaults      `yaml:"perIdentity"`  // of a tenant
	FailureBurst      int           `yaml:"failureBurst"` // wrong tokens of one identity before it has to wait
	FailureEvery      time.Duration `yaml:"failureEvery"` // after which one is forgiven
}

// Defaults are what a tenant or an identity may have at once if tenants[].limits does
// not say.
type Defaults struct {
	Concurrent  int   `yaml:"concurrent"`  // requests in progress, event streams aside
	Streams     int   `yaml:"streams"`     // event streams that are open
	UnreadBytes int64 `yaml:"unreadBytes"` // of answers that clients have not read
}

// Log is the gate's own log on standard error.
type Log struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"` // json or text
}

// Audit is the audit log: refusals and changes, and tool calls where asked for, uses
// of resources and prompts among them.
type Audit struct {
	File      Path  `yaml:"file"` // "-": standard output
	ToolCalls bool  `yaml:"toolCalls"`
	MaxBytes  int64 `yaml:"maxBytes"` // at which the file is rotated; 100 MiB where 0
	Backups   int   `yaml:"backups"`  // rotated files that are kept; 10 where 0
}

// defaults is where every file starts from.
func defaults() *Config {
	return &Config{
		Listen: "0.0.0.0:8443",
		Admin:  "127.0.0.1:9090",
		TLS:    TLS{MinVersion: "1.3"},
		Limits: Limits{
			MaxHeaderBytes:    32 << 10,
			MaxBodyBytes:      1 << 20,
			HandshakeTimeout:  5 * time.Second,
			HelloTimeout:      2 * time.Second,
			MaxSilent:         2048,
			SilentPerAddress:  1024,
			MaxHandshakes:     512,
			TenantShare:       0.75,
			IdentityShare:     0.65,
			MaxUnmapped:       128,
			MaxHandshakeBytes: 20 << 10,
			MaxConnections:    20_000,
			MaxConnectionAge:  time.Hour,
			ConnectionGrace:   5 * time.Minute,
			IdleTimeout:       2 * time.Minute,
			ToolTimeout:       time.Minute,
			DrainTimeout:      10 * time.Second,
			MaxStreamsPerConn: 100,
			StallTimeout:      15 * time.Second,
			UnreadBytes:       256 << 20,
			RequestBytes:      256 << 20,
			PerTenant:         Defaults{Concurrent: 512, Streams: 5000, UnreadBytes: 128 << 20},
			PerIdentity:       Defaults{Concurrent: 128, Streams: 2500, UnreadBytes: 64 << 20},
			FailureBurst:      10,
			FailureEvery:      6 * time.Second,
		},
		Log: Log{Level: "info", Format: "json"},
	}
}

// Strings returns paths as strings.
func Strings(paths []Path) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = string(p)
	}
	return out
}
