package credential

import "bytes"

// scrub replaces each form in b, the leftmost first and of several at one place the longest. Unless b is whole, rest
// is its end that may be the beginning of a form, and is not in out. Without a form in b, out is b or begins it. It
// takes time in proportion to b, however many forms are in it.
func scrub(forms [][]byte, b []byte, whole bool) (out, rest []byte) {
	found := search{forms: forms, in: b}
	from, begun := 0, len(b)
	if !whole {
		begun = beginning(forms, b)
	}
	for {
		at, length := found.next(from)
		if begun < from {
			begun = from + beginning(forms, b[from:])
		}
		if at < 0 || begun <= at {
			if out == nil {
				return b[:begun], b[begun:]
			}
			return append(out, b[from:begun]...), b[begun:]
		}
		out = append(append(out, b[from:at]...), Redacted...)
		from = at + length
	}
}

// A search finds forms from left to right. It remembers where each form is next, so that no byte is looked at twice
// for one form.
type search struct {
	forms [][]byte // longest first
	in    []byte
	at    []int // of each form, once one was found; len(in) if there is none
}

// next returns where the first form at or behind from is, and its length; -1 without one. from does not go back.
func (s *search) next(from int) (at, length int) {
	if s.at == nil {
		if at, length = first(s.forms, s.in); at >= 0 {
			s.at = make([]int, len(s.forms))
			for i := range s.at {
				s.at[i] = -1
			}
		}
		return at, length
	}
	at = len(s.in)
	for i, f := range s.forms {
		if s.at[i] < from {
			s.at[i] = len(s.in)
			if n := bytes.Index(s.in[from:], f); n >= 0 {
				s.at[i] = from + n
			}
		}
		if s.at[i] < at {
			at, length = s.at[i], len(f)
		}
	}
	if at == len(s.in) {
		return -1, 0
	}
	return at, length
}

// first returns where the first form in b is, and its length; -1 without one.
func first(forms [][]byte, b []byte) (at, length int) {
	at = -1
	within := b
	for _, f := range forms {
		if n := bytes.Index(within, f); n >= 0 && (at < 0 || n < at) {
			at, length = n, len(f)
			within = b[:min(len(b), at+len(forms[0]))]
		}
	}
	return at, length
}

// beginning returns where the longest end of b starts that a form begins with; len(b) without one.
func beginning(forms [][]byte, b []byte) int {
	start := len(b)
	if start == 0 {
		return 0
	}
	last := b[len(b)-1]
	for _, f := range forms {
		if bytes.IndexByte(f, last) < 0 {
			continue
		}
		for n := min(len(f)-1, len(b)); n > len(b)-start; n-- {
			if f[n-1] == last && bytes.HasSuffix(b, f[:n]) {
				start = len(b) - n
				break
			}
		}
	}
	return start
}
