package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// read decodes a document within bounds. Values that YAML aliases repeat are shared,
// not copied, until their size is known to be within bounds.
func read(document []byte) (map[string]any, error) {
	if len(document) > MaxDocument {
		return nil, fmt.Errorf("the document is larger than %d bytes", MaxDocument)
	}
	if depth(document) > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	if n := separators(document); n > maxValues {
		return nil, fmt.Errorf("more than %d values", maxValues)
	}
	v, err := decode(document)
	if err != nil {
		return nil, fmt.Errorf("no OpenAPI document: %.500s", oneLine(err.Error()))
	}
	var s size
	if v, err = s.plain(v, 0); err != nil {
		return nil, err
	}
	root, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("no OpenAPI document: it is not an object")
	}
	return root, nil
}

// decode reads JSON, or else YAML.
func decode(document []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	if d.Decode(&v) == nil {
		if _, err := d.Token(); err == io.EOF {
			return v, nil
		}
	}
	return decodeYAML(document)
}

// The last bytes of the line breaks that YAML 1.1 has beside CR and LF, in UTF-8.
const (
	nextLine           = '\x85' // of U+0085
	lineSeparator      = '\xa8' // of U+2028
	paragraphSeparator = '\xa9' // of U+2029
)

// separators returns an upper bound for the values in JSON or YAML, aliases not
// expanded: each but the first has a comma, a colon, a dash, a bracket or a line
// before it.
func separators(data []byte) (n int) {
	if json.Valid(data) {
		return jsonSeparators(data)
	}
	for i, b := range data {
		switch b {
		case ',', '[', '{', '\n', nextLine, lineSeparator, paragraphSeparator:
			n++
		case '\r':
			if i+1 == len(data) || data[i+1] != '\n' {
				n++
			}
		case '-', '?', ':': // an indicator has a blank behind it
			if i+1 < len(data) && (data[i+1] == ' ' || data[i+1] == '\t') {
				n++
			}
		}
	}
	return n
}

func jsonSeparators(data []byte) (n int) {
	quoted := false
	for i := 0; i < len(data); i++ {
		switch b := data[i]; {
		case b == '\\' && quoted:
			i++
		case b == '"':
			quoted = !quoted
		case !quoted && (b == ',' || b == '[' || b == '{'):
			n++
		}
	}
	return n
}

// size is that of a decoded document.
type size struct{ values, bytes int }

// plain makes text of what is !!binary in YAML, and bounds the size of what aliases
// expand to.
func (s *size) plain(v any, level int) (any, error) {
	s.values++
	if text, ok := v.(string); ok {
		s.bytes += len(text)
	}
	switch {
	case s.values > maxValues:
		return nil, fmt.Errorf("more than %d values", maxValues)
	case s.bytes > MaxDocument:
		return nil, fmt.Errorf("more than %d bytes of text, aliases expanded", MaxDocument)
	case level > maxDepth:
		return nil, fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	var err error
	switch v := v.(type) {
	case []any:
		for i := range v {
			if v[i], err = s.plain(v[i], level+1); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range v {
			s.bytes += len(key)
			if v[key], err = s.plain(v[key], level+1); err != nil {
				return nil, err
			}
		}
	case []byte: // !!binary
		return string(v), nil
	}
	return v, nil
}
