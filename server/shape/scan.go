package shape

import (
	"unicode/utf8"
)

// Bounds of what a scan is sure of.
const (
	maxOtherNames  = 16 // of an object, that no property describes
	maxNumberBytes = 15 // every integer of so many digits is a float64
)

// Accepts reports whether raw surely is strict JSON (RFC 7493: UTF-8, each name
// once) that fits. Does not allocate.
func (s *Shape) Accepts(raw []byte) bool {
	if s == nil {
		return false
	}
	c := scan{data: raw}
	return c.value(s, 0) && c.space() == 0 && c.at == len(raw)
}

// A scan goes through JSON; every method is false where it is not sure.
type scan struct {
	data []byte
	at   int
}

// space skips white space and returns the byte that follows, 0 at the end.
func (c *scan) space() byte {
	for ; c.at < len(c.data); c.at++ {
		switch b := c.data[c.at]; b {
		case ' ', '\t', '\n', '\r':
		default:
			return b
		}
	}
	return 0
}

var anyShape = &Shape{kinds: anyKind}

func (c *scan) value(s *Shape, depth int) bool {
	if depth > maxDepth {
		return false
	}
	b := c.space()
	if s.enum != nil && b != '"' {
		return false
	}
	switch b {
	case '"':
		text, plain, ok := c.text()
		if !ok || s.kinds&textKind == 0 {
			return false
		}
		return s.enum == nil || (plain && s.lists(text))
	case '{':
		return s.kinds&objectKind != 0 && c.object(s, depth)
	case '[':
		return s.kinds&arrayKind != 0 && c.array(s, depth)
	case 't':
		return s.kinds&boolKind != 0 && c.word("true")
	case 'f':
		return s.kinds&boolKind != 0 && c.word("false")
	case 'n':
		return s.kinds&nullKind != 0 && c.word("null")
	}
	return c.number(s.kinds)
}

func (c *scan) word(w string) bool {
	if len(c.data)-c.at < len(w) || string(c.data[c.at:c.at+len(w)]) != w {
		return false
	}
	c.at += len(w)
	return true
}

// text goes over a text; plain is one in which nothing is escaped.
func (c *scan) text() (inner []byte, plain, ok bool) {
	start, ascii := c.at+1, true
	plain = true
	for i := start; i < len(c.data); i++ {
		b := c.data[i]
		if ordinary[b] {
			continue
		}
		switch {
		case b == '"':
			inner, c.at = c.data[start:i], i+1
			return inner, plain, ascii || utf8.Valid(inner)
		case b < ' ':
			return nil, false, false
		case b == '\\':
			i++
			if i == len(c.data) {
				return nil, false, false
			}
			switch c.data[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				plain = false
			default:
				return nil, false, false // by number: the schema's reader knows about surrogates
			}
		case b >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, false, false
}

// ordinary has the bytes of a text that stand for themselves and nothing else.
var ordinary = func() (is [256]bool) {
	for b := ' '; b < utf8.RuneSelf; b++ {
		is[b] = b != '"' && b != '\\'
	}
	return is
}()

// number takes short ones without an exponent.
func (c *scan) number(k kinds) bool {
	start := c.at
	digits := func() bool {
		from := c.at
		for c.at < len(c.data) && c.data[c.at] >= '0' && c.data[c.at] <= '9' {
			c.at++
		}
		return c.at > from
	}
	if c.at < len(c.data) && c.data[c.at] == '-' {
		c.at++
	}
	first := c.at
	if !digits() || (c.data[first] == '0' && c.at-first > 1) {
		return false
	}
	want := integerKind
	if c.at < len(c.data) && c.data[c.at] == '.' {
		c.at++
		want = numberKind
		if !digits() {
			return false
		}
	}
	if c.at < len(c.data) && (c.data[c.at] == 'e' || c.data[c.at] == 'E') {
		return false
	}
	return k&want != 0 && c.at-start <= maxNumberBytes
}

func (c *scan) array(s *Shape, depth int) bool {
	items := s.items
	if items == nil {
		items = anyShape
	}
	c.at++
	if c.space() == ']' {
		c.at++
		return true
	}
	for {
		if !c.value(items, depth+1) {
			return false
		}
		switch c.space() {
		case ',':
			c.at++
		case ']':
			c.at++
			return true
		default:
			return false
		}
	}
}

func (c *scan) object(s *Shape, depth int) bool {
	var seen uint64
	var others [maxOtherNames][]byte
	n := 0
	c.at++
	if c.space() == '}' {
		c.at++
		return s.required == 0
	}
	for {
		if c.space() != '"' {
			return false
		}
		name, plain, ok := c.text()
		if !ok || !plain || c.space() != ':' {
			return false
		}
		c.at++
		of := anyShape
		if i := s.property(name); i >= 0 {
			if seen&(1<<i) != 0 {
				return false
			}
			seen |= 1 << i
			of = s.props[i].Shape
		} else {
			if s.closed || n == len(others) {
				return false
			}
			for _, other := range others[:n] {
				if string(other) == string(name) {
					return false
				}
			}
			others[n] = name
			n++
		}
		if !c.value(of, depth+1) {
			return false
		}
		switch c.space() {
		case ',':
			c.at++
		case '}':
			c.at++
			return seen&s.required == s.required
		default:
			return false
		}
	}
}

// lists reports whether the enum has the text.
func (s *Shape) lists(text []byte) bool {
	low, high := 0, len(s.enum)
	for low < high {
		if mid := (low + high) / 2; s.enum[mid] < string(text) { // converts without allocating
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low < len(s.enum) && s.enum[low] == string(text)
}

func (s *Shape) property(name []byte) int {
	for i := range s.props {
		if s.props[i].name == string(name) {
			return i
		}
	}
	return -1
}
