package expr

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Nothing is what an optional without a value comes to.
var Nothing = nothing{}

type nothing struct{}

// Decode reads JSON strictly for an expression: whole numbers are int64, where
// they fit and the type does not say otherwise.
func Decode(data []byte, t *Type) (any, error) {
	d := jsontext.NewDecoder(bytes.NewReader(data))
	v, err := decode(d, t)
	if err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

func decode(d *jsontext.Decoder, t *Type) (any, error) {
	tok, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch tok.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return tok.Bool(), nil
	case '"':
		return tok.String(), nil
	case '0':
		return number(tok.String(), t)
	case '[':
		list := []any{}
		for d.PeekKind() != ']' {
			var elem *Type
			if t != nil {
				elem = t.elem
			}
			v, err := decode(d, elem)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.ReadToken()
		return list, err
	}
	object := make(map[string]any)
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String()
		var field *Type
		if t != nil {
			field = t.fields[key]
		}
		if object[key], err = decode(d, field); err != nil {
			return nil, err
		}
	}
	_, err = d.ReadToken()
	return object, err
}

func number(text string, t *Type) (any, error) {
	if t != Double {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, err
	}
	if t == Int { // as JSON Schema has it, 5.0 is whole
		if f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
			return nil, fmt.Errorf("%.30s is no whole number of 64 bits", text)
		}
		return int64(f), nil
	}
	return f, nil
}

// Encode writes what [Program.Eval] returned as JSON.
func Encode(v any) (json.RawMessage, error) {
	return jsonv2.Marshal(v, jsonv2.Deterministic(true))
}

// JSON evaluates the expression, and writes what it comes to; nil for [Nothing].
// It is [Program.Eval] and [Encode] in one, and a third of the work.
func (p *Program) JSON(ctx context.Context, vars map[string]any) (json.RawMessage, error) {
	out, _, err := p.run.ContextEval(ctx, vars)
	if err != nil {
		return nil, err
	}
	if o, ok := out.(*types.Optional); ok {
		if !o.HasValue() {
			return nil, nil
		}
		out = o.GetValue()
	}
	if decoded, ok := out.Value().(map[string]any); ok { // as it was read, in whole or in part
		return appendDecoded(nil, decoded)
	}
	v, err := new(output).native(out, 0)
	if err != nil {
		return nil, err
	}
	return appendDecoded(nil, v)
}

// appendDecoded writes what [Decode] has read, the names of objects in their order.
func appendDecoded(out []byte, v any) ([]byte, error) {
	var err error
	switch v := v.(type) {
	case nil:
		return append(out, "null"...), nil
	case bool:
		return strconv.AppendBool(out, v), nil
	case int64:
		return strconv.AppendInt(out, v, 10), nil
	case string:
		return jsontext.AppendQuote(out, v)
	case []any:
		out = append(out, '[')
		for i, item := range v {
			if i > 0 {
				out = append(out, ',')
			}
			if out, err = appendDecoded(out, item); err != nil {
				return nil, err
			}
		}
		return append(out, ']'), nil
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		out = append(out, '{')
		for i, name := range names {
			if i > 0 {
				out = append(out, ',')
			}
			if out, err = jsontext.AppendQuote(out, name); err != nil {
				return nil, err
			}
			if out, err = appendDecoded(append(out, ':'), v[name]); err != nil {
				return nil, err
			}
		}
		return append(out, '}'), nil
	}
	text, err := Encode(v) // uint64, float64, and what else CEL may hold
	return append(out, text...), err
}

// Bounds on what an expression comes to: a loop can repeat a large value cheaply, which
// is copied here for the first time.
const (
	maxOutput = 96 << 20  // bytes of texts
	maxValues = 8_000_000 // of any kind
)

// An output counts what is turned.
type output struct{ bytes, values int }

// native turns a CEL value into one of JSON.
func (o *output) native(v ref.Val, depth int) (any, error) {
	if depth > 64 {
		return nil, errors.New("too deep")
	}
	switch text := v.(type) {
	case types.String:
		o.bytes += len(text)
	case types.Bytes:
		o.bytes += len(text)
	}
	if o.values++; o.values > maxValues || o.bytes > maxOutput {
		return nil, fmt.Errorf("it comes to more than %d bytes or %d values", maxOutput, maxValues)
	}
	switch v := v.(type) {
	case types.Null:
		return nil, nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		return uint64(v), nil
	case types.Double:
		if f := float64(v); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f, nil
		}
		return nil, errors.New("a number that JSON does not have")
	case types.String:
		return string(v), nil
	case types.Bytes:
		return base64.StdEncoding.EncodeToString(v), nil
	case types.Timestamp:
		return v.Time.UTC().Format(time.RFC3339Nano), nil
	case types.Duration:
		return v.Duration.String(), nil
	case *types.Optional:
		if !v.HasValue() {
			return Nothing, nil
		}
		return o.native(v.GetValue(), depth+1)
	case *types.Err:
		return nil, v
	case traits.Mapper:
		out := make(map[string]any)
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			name, ok := key.(types.String)
			if !ok {
				return nil, fmt.Errorf("an object with a name that is a %s", key.Type().TypeName())
			}
			item, err := o.native(v.Get(key), depth+1)
			if err != nil {
				return nil, err
			}
			if item != Nothing {
				out[string(name)] = item
			}
		}
		return out, nil
	case traits.Lister:
		out := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			item, err := o.native(it.Next(), depth+1)
			if err != nil {
				return nil, err
			}
			if item != Nothing {
				out = append(out, item)
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("a %s has no place in JSON", v.Type().TypeName())
}
