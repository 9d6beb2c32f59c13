// Package httptool makes tools of declared HTTP APIs: a request whose parts are
// expressions over the arguments, the tenant and its secret, and a result that is
// one over the response.
//
// What a caller sends ends up in a value, never in the shape of the request: path
// parts are escaped and cannot leave their segment, the host is the tenant's and
// the operator's to name, and headers hold no line breaks.
package httptool

import (
	"encoding/json"
	"time"
)

// A Definition is one entry of tools.http.
type Definition struct {
	Name        string          `yaml:"name"`
	Title       string          `yaml:"title"`
	Description string          `yaml:"description"`
	Input       json.RawMessage `yaml:"input"`  // JSON Schema; no arguments where absent
	Output      json.RawMessage `yaml:"output"` // JSON Schema of the result, or nil

	// The secret that is shown: of the calling tenant by name, or one by id. Where
	// no expression reads secret, it is put where its type says.
	Credential   string `yaml:"credential"`
	CredentialID int64  `yaml:"credentialId"`

	Request  Request           `yaml:"request"`
	Response string            `yaml:"response"` // expression; response.body where empty
	Errors   map[string]string `yaml:"errors"`   // by status: 404, 4xx or default; expressions of what is said
	Timeout  time.Duration     `yaml:"timeout"`  // of the whole call, retries among it
	MaxBytes int64             `yaml:"maxResponseBytes"`
}

// A Request is what is sent.
type Request struct {
	Method   string            `yaml:"method"` // GET where empty
	URL      string            `yaml:"url"`    // with {expressions} in its parts
	Headers  map[string]string `yaml:"headers"`
	Query    map[string]string `yaml:"query"` // what comes to nothing or null is left out; a list is sent as several
	Body     string            `yaml:"body"`
	BodyType string            `yaml:"bodyType"` // json, form or text
}

// The defaults and bounds of a definition.
const (
	defaultTimeout  = 20 * time.Second
	maxTimeout      = 5 * time.Minute
	defaultMaxBytes = 1 << 20
	maxMaxBytes     = 64 << 20
)

// A FieldError is what is wrong with one field; Path is as in the configuration,
// such as request.query.page.
type FieldError struct {
	Path string
	Err  error
}

func (e *FieldError) Error() string { return e.Path + ": " + e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }
