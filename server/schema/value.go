package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// kinds are JSON types; integer is a number without a fraction.
type kinds uint8

const (
	null kinds = 1 << iota
	boolean
	number
	integer
	text
	array
	object
)

var kindNames = map[string]kinds{"null": null, "boolean": boolean, "number": number, "integer": integer,
	"string": text, "array": array, "object": object}

func newTypes(names []string) *types {
	t := &types{names: names}
	for _, name := range names {
		t.kinds |= kindNames[name]
	}
	return t
}

func kindOf(v any) kinds {
	switch v.(type) {
	case nil:
		return null
	case bool:
		return boolean
	case float64, json.Number:
		return number
	case string:
		return text
	case []any:
		return array
	}
	return object
}

func (k kinds) String() string {
	for name, kind := range kindNames {
		if kind == k {
			return name
		}
	}
	return ""
}

// allows reports whether the types allow v.
func (t *types) allows(v any) bool {
	if t.kinds&kindOf(v) != 0 {
		return true
	}
	f, is := v.(float64)
	return is && t.kinds&integer != 0 && f == math.Trunc(f)
}

// canonical returns a text that two JSON values share only if they are equal: numbers
// by value, objects whatever the order of their names. The size of numbers in a schema
// is bounded by [measure]; in an instance they are float64.
func canonical(v any) string { return string(appendCanonical(nil, v)) }

func appendCanonical(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 'n')
	case bool:
		return append(strconv.AppendBool(append(b, 'b'), v), ';')
	case float64:
		return appendNumber(b, strconv.FormatFloat(v, 'e', -1, 64))
	case json.Number:
		return appendNumber(b, v.String())
	case string:
		return append(append(strconv.AppendInt(append(b, 's'), int64(len(v)), 10), ':'), v...)
	case []any:
		b = append(strconv.AppendInt(append(b, '['), int64(len(v)), 10), ':')
		for _, item := range v {
			b = appendCanonical(b, item)
		}
	case map[string]any:
		b = append(strconv.AppendInt(append(b, '{'), int64(len(v)), 10), ':')
		for _, name := range slices.Sorted(maps.Keys(v)) {
			b = appendCanonical(appendCanonical(b, name), v[name])
		}
	}
	return b
}

// appendNumber appends the digits of a JSON number, without zeros at either end, and its
// exponent. A fraction would have hundreds of digits for 1e-300.
func appendNumber(b []byte, text string) []byte {
	text, negative := strings.CutPrefix(text, "-")
	mantissa, exponent := text, 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa = text[:i]
		exponent, _ = strconv.Atoi(text[i+1:]) // of a number that is one, and bounded by measure
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimRight(whole+fraction, "0")
	exponent += len(whole) - len(digits)
	digits = strings.TrimLeft(digits, "0")
	b = append(b, 'f')
	switch {
	case digits == "":
		return append(b, ';')
	case negative:
		b = append(b, '-')
	}
	return append(strconv.AppendInt(append(append(b, digits...), 'e'), int64(exponent), 10), ';')
}

// rational returns the number that the shortest decimal of v stands for.
func rational(v any) *big.Rat {
	r, ok := new(big.Rat).SetString(fmt.Sprint(v))
	if !ok {
		return new(big.Rat)
	}
	return r
}

// weight returns the number of values in v and, in units of 16, of bytes in its texts.
func weight(v any) int {
	n := 1
	switch v := v.(type) {
	case string:
		n += len(v) / 16
	case []any:
		for _, item := range v {
			n += weight(item)
		}
	case map[string]any:
		for name, item := range v {
			n += 1 + len(name)/16 + weight(item)
		}
	}
	return n
}
