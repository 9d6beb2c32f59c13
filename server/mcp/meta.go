package mcp

import (
	"bytes"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/object"
)

// A meta is _meta of a request. Not to be changed.
type meta struct {
	revision string // what the request says it is of; "" where nothing
	client
	progress bool // it asks to be told how far a tool is
	logs     bool // and what it logs
	other    bool // more that belongs to the protocol
	plain    bool // what it says about the client surely is what it should be
}

// Names in _meta that belong to the protocol (revision 2026-07-28).
const metaPrefix = "io.modelcontextprotocol/"

// Bounds of what is remembered.
const (
	maxMetas     = 1024
	maxMetaBytes = 1024
)

// metas remembers what was read: a client says the same of itself with each
// request. Safe for concurrent use.
type metas struct {
	mu    sync.RWMutex
	known map[string]*meta
}

// read reads _meta, which is strict JSON and an object.
func (ms *metas) read(raw jsontext.Value) *meta {
	ms.mu.RLock()
	m := ms.known[string(raw)]
	ms.mu.RUnlock()
	if m != nil {
		return m
	}
	m = new(meta)
	own := bytes.Clone(raw)
	if !m.parse(own) || len(own) > maxMetaBytes {
		return m // what is in no other request is not worth remembering
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.known == nil {
		ms.known = make(map[string]*meta)
	}
	for other := range ms.known {
		if len(ms.known) < maxMetas {
			break
		}
		delete(ms.known, other)
	}
	ms.known[string(own)] = m
	return m
}

// parse reads the members, and reports whether they all say who the client is.
func (m *meta) parse(raw []byte) (same bool) {
	same = true
	r := object.Read(raw)
	r.Enter()
	for name, more := r.Next(); more; name, more = r.Next() {
		own, reserved := bytes.CutPrefix(name, []byte(metaPrefix))
		switch {
		case reserved && string(own) == "protocolVersion" && r.Kind() == '"':
			m.revision = known(r.Text())
		case reserved && string(own) == "clientCapabilities":
			m.capabilities = r.Value()
		case reserved && string(own) == "clientInfo":
			m.info = r.Value()
		case string(name) == "progressToken":
			m.progress, same = true, false
			r.Value()
		default:
			m.other, same = m.other || reserved, false
			m.logs = m.logs || reserved && string(own) == "logLevel"
			r.Value()
		}
	}
	if r.Close() != nil {
		m.other = true // it is read as part of the message, which is refused
		return false
	}
	m.plain = m.client.plain()
	return same
}
