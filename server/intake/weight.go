package intake

import "bytes"

// What decoded JSON takes in memory, in bytes, as TestWeightIsEnough finds.
const (
	container = 64  // a list or object, its place in the list that it is in included
	element   = 40  // one more in a list or object
	member    = 40  // one more of an object, its name
	members   = 280 // the first members of an object, for which room is made at once
)

// Weight returns how many bytes a JSON text takes, and takes once more when it is decoded:
// an estimate that is rather too high. It is quick, and does not ask whether the text is JSON.
func Weight(text []byte) int64 {
	w := int64(len(text)) * 2
	for n := 0; n < len(text); n++ {
		switch text[n] {
		case '"':
			n = closing(text, n+1)
		case '[':
			w += container
		case '{':
			w += container
			if n+1 < len(text) && text[n+1] != '}' {
				w += members
			}
		case ',':
			w += element
		case ':':
			w += member
		}
	}
	return w
}

// closing returns where the string that begins at n ends.
func closing(text []byte, n int) int {
	for {
		k := bytes.IndexByte(text[n:], '"')
		if k < 0 {
			return len(text)
		}
		n += k
		escaped := false
		for back := n - 1; back >= 0 && text[back] == '\\'; back-- {
			escaped = !escaped
		}
		if !escaped {
			return n
		}
		n++
	}
}
