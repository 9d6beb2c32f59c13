package console

import (
	"context"
	"time"
)

// A Source tells what is so now. All of its functions are required, and safe for
// concurrent use.
type Source struct {
	Version     string
	Now         func() time.Time
	Overview    func() Overview
	Trust       func() Trust
	Tenants     func(filter string, atMost int) Tenants
	Connections func(atMost int) Connections
	Upstreams   func() []Upstream
	Documents   func() []Document
	Refusals    *Refusals

	// Turn does work that costs much when it is its turn, or returns an error if ctx
	// ends before. The work must not wait for a client.
	Turn func(ctx context.Context, work func()) error
}

// An Overview is the gate on one page.
type Overview struct {
	Checks      []Check
	Server      Certificate
	Started     time.Time
	Generation  uint64
	Loaded      time.Time // the configuration in force
	File        string
	ConfigError string // why the file does not load; "": it does
	CertError   string
	StateErrors map[string]string // why what is in the state store does not load; "": it does
	Tenants     int
	Connections int
	Requests    int // in progress
	Upstreams   int
	Unavailable int // of them
	Refused     []Count
	Documents   []Document
}

// A Check is one of those behind /readyz.
type Check struct {
	Name, Problem string
}

// A Count is of one reason, since the start.
type Count struct {
	Reason string
	N      float64
}

// Trust is whom the gate shows itself by, and whom it takes.
type Trust struct {
	Certificates []Certificate // the gate's own
	Roots        []Certificate // client CAs
	Lists        []List
}

// A Certificate is one in force. Renew is when it will be renewed, where that is
// planned.
type Certificate struct {
	Role, Name, Serial         string
	Names                      []string
	NotBefore, NotAfter, Renew time.Time
}

// A List is a CRL or a denylist. Next is zero for a list that does not end.
type List struct {
	Name    string
	Kind    string
	Issuer  string
	Entries int
	Next    time.Time
}

// Tenants are some of those that there are.
type Tenants struct {
	List  []Tenant
	Total int // that match
}

// A Tenant is one entry of the configuration.
type Tenant struct {
	ID, SecondFactor string
	Enabled          bool
	Rules            []string
	Allow, Deny      []string
	Condition        string
	Keys             []Key
	Passed, Refused  float64 // requests since the start
}

// A Key is an API key without its secret.
type Key struct {
	ID, State string
	NotAfter  time.Time
}

// Connections are some of those that are open.
type Connections struct {
	List     []Connection
	Total    int
	Requests []Request // some of those in progress
	Busy     int       // how many those are
}

// A Connection is one that is open.
type Connection struct {
	Remote, Identity, Protocol string
	Since, NotAfter            time.Time
}

// A Request is one in progress: the call of a tool, a stream, or what takes no time.
type Request struct {
	ID, Tenant, Identity, Via, Key string
	Tool                           string // that it calls
	Stream                         bool
	What, Remote                   string // What is method and path
	Since                          time.Time
}

// An Upstream is a server behind the gate.
type Upstream struct {
	Name, Where, Protocol string
	Up                    bool
	Problem               string
	Tools                 []string
	LeftOut               []LeftOut // the first parts of its offer that are not passed on
	Missing               int       // how many are not
}

// A Document is an OpenAPI document that tools are made of.
type Document struct {
	Name, Where string
	Problem     string // why its last import failed; Tools are those of the copy before
	Tools       []string
	LeftOut     []LeftOut // the first operations that are not tools
	Missing     int       // how many are not
}

// A LeftOut is a part of an upstream's offer that is not passed on.
type LeftOut struct{ Kind, Name, Why string }
