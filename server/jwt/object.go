package jwt

import (
	"crypto/sha256"
	"math"
	"strconv"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/object"
)

// members are those of a JSON object, as they stand in it.
type members []object.Member

// parseObject reads one JSON object, each name once. What it returns lies in
// data. It makes room for so many.
func parseObject(data []byte, room int) (members, error) {
	return object.Parse(make(members, 0, room), data, maxMembers)
}

// get returns the value of a name, or nil.
func (m members) get(name string) jsontext.Value {
	for i := range m {
		if string(m[i].Name) == name {
			return m[i].Value
		}
	}
	return nil
}

// text returns a value that is a text.
func (m members) text(name string) (string, bool) {
	raw := m.get(name)
	if raw.Kind() != '"' {
		return "", false
	}
	s, err := jsontext.AppendUnquote(nil, raw)
	return string(s), err == nil
}

// date returns a NumericDate (RFC 7519, 2): zero where it is not there, and not
// ok where it is no number of this age.
func (m members) date(name string) (time.Time, bool) {
	raw := m.get(name)
	if raw == nil {
		return time.Time{}, true
	}
	seconds, err := strconv.ParseFloat(string(raw), 64)      // of JSON, it takes numbers only
	if err != nil || seconds < 0 || seconds > 253402300799 { // year 9999
		return time.Time{}, false
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9)), true
}

// list returns a claim that is a text or a list of texts; split takes a text for
// several with spaces between (RFC 8693, 4.2).
func (m members) list(name string, split bool) ([]string, bool) {
	raw := m.get(name)
	if raw == nil {
		return nil, true
	}
	if one, ok := m.text(name); ok {
		if split {
			return strings.Fields(one), true
		}
		return []string{one}, true
	}
	var many []string
	if raw.Kind() != '[' || jsonv2.Unmarshal(raw, &many) != nil {
		return nil, false
	}
	return many, true
}

// confirmation reads cnf. A token that is bound to anything but a certificate is
// bound to something that is not looked for here.
func (m members) confirmation() (c Confirmation, ok bool) {
	raw := m.get("cnf")
	if raw == nil {
		return c, true
	}
	cnf, err := parseObject(raw, 2)
	if err != nil {
		return c, false
	}
	for i := range cnf {
		if string(cnf[i].Name) != "x5t#S256" {
			c.Other = true
			continue
		}
		text, _ := cnf.text("x5t#S256")
		sum, err := encoding.DecodeString(text)
		if err != nil || len(sum) != sha256.Size {
			return c, false
		}
		c.Certificate = true
		copy(c.Thumbprint[:], sum)
	}
	return c, true
}
