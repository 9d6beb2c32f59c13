package config

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	pieceTarget = 64 << 10  // bytes after which a piece ends at the next entry
	maxPiece    = 256 << 10 // bytes that a value may take if it cannot be read in parts
)

// A piece is a part of a YAML text that is parsed by itself, so that memory depends on the
// largest value and not on the file. Its text begins with the keys around it, each on a line.
type piece struct {
	text    []byte
	openers []opener // the keys around it
	first   int      // line in the file of the first line after the keys
}

// An opener is a line that holds a key only; its value is on the lines below.
type opener struct {
	key     string
	path    string // of its value, such as tools.http
	column  int    // of the key, from 0
	content int    // column of the entries of its value; -1 before the first
	line    int
}

// pieces cuts a YAML text where an entry begins whose enclosing values all are block mappings or
// block sequences below keys. If it is not sure it does not cut. A wrong cut gives a text
// that does not parse: pieces never hide anything from the parser.
type pieces struct {
	r       *bufio.Reader
	target  int
	text    []byte
	openers []opener // those around the line to come
	around  []opener // those around the piece that is read
	root    int      // column of the outermost entries; -1 before the first
	opaque  int      // lines that are indented deeper belong to an entry that is not looked into; -1: none
	stuck   bool     // the text is in another form: no more cuts
	marked  bool     // a document has ended
	begun   bool     // it has content
	held    []byte   // a line that was read and begins the next piece
	line    int      // lines in pieces so far
	first   int      // line of the first line in text
}

// lineOf returns the line in the file of a line in the piece.
func (p *piece) lineOf(line int) int {
	if n := len(p.openers); line > n {
		return p.first + line - n - 1
	}
	return p.openers[max(line, 1)-1].line
}

// An excess is a bound that a text exceeds, and where.
type excess struct {
	line, col int
	message   string
}

func (e *excess) Error() string { return e.message }

// newPieces reads r; a piece ends at the first cut behind target bytes.
func newPieces(r io.Reader, target int) *pieces {
	return &pieces{r: bufio.NewReader(r), target: target, root: -1, opaque: -1, first: 1}
}

// next returns the next piece; [io.EOF] after the last. The piece is valid until the next call.
func (p *pieces) next() (piece, error) {
	p.text = p.text[:0]
	for _, o := range p.around {
		p.text = fmt.Appendf(p.text, "%*s%s:\n", o.column, "", o.key)
	}
	out := piece{openers: p.around, first: p.first}
	context := len(p.text)
	if p.held != nil {
		p.text = append(p.text, p.held...)
		p.advance(p.held)
		p.held = nil
	}
	for {
		size, err := p.readLine()
		if err != nil && err != io.EOF {
			return out, err
		}
		line := p.text[len(p.text)-size:]
		if cut, e := p.classify(line); e != nil {
			return out, e
		} else if cut && len(p.text)-size-context >= p.target {
			return p.split(out, size)
		}
		p.advance(line)
		if len(p.text) > maxPiece {
			return out, &excess{out.first, 1, fmt.Sprintf("more than %d bytes %s", maxPiece, notInParts)}
		}
		if err == io.EOF {
			if len(p.text) == context && out.first > 1 {
				return out, io.EOF
			}
			p.around, p.first = nil, p.line+2 // the next call returns EOF
			out.text = p.text
			return out, nil
		}
	}
}

// split ends a piece before its last line, of size bytes, which begins the next one.
func (p *pieces) split(out piece, size int) (piece, error) {
	end := len(p.text) - size
	out.text, p.held = p.text[:end], slices.Clone(p.text[end:])
	p.around, p.first = slices.Clone(p.openers), p.line+1
	if n := len(p.around); n > 0 && p.around[n-1].line == p.first { // the line itself
		p.around = p.around[:n-1]
	}
	return out, nil
}

// readLine appends the next line to text and returns its length.
func (p *pieces) readLine() (size int, err error) {
	for {
		part, err := p.r.ReadSlice('\n')
		p.text = append(p.text, part...)
		if size += len(part); size > maxLine {
			return size, &excess{p.line + 1, maxLine, fmt.Sprintf("line longer than %d bytes", maxLine)}
		}
		if err != bufio.ErrBufferFull {
			return size, err
		}
	}
}

// classify brings the openers up to the line and reports whether the text can be cut before it.
func (p *pieces) classify(line []byte) (cut bool, err error) {
	body := bytes.TrimLeft(line, " ")
	indent := len(line) - len(body)
	body = bytes.TrimRight(body, " \t\r\n")
	if len(body) == 0 || body[0] == '#' {
		return false, nil
	}
	if indent == 0 && isMarker(body) {
		p.marked = p.begun
		if body = bytes.TrimSpace(body[3:]); len(body) == 0 || body[0] == '#' {
			return false, nil
		}
		p.stuck = true
	}
	p.begun = true
	if p.marked {
		return false, &excess{p.line + 1, indent + 1, "a second document; one file holds one configuration"}
	}
	if p.stuck || p.opaque >= 0 && indent > p.opaque || body[0] == ']' || body[0] == '}' {
		return false, nil
	}
	p.opaque = -1
	isItem := body[0] == '-' && (len(body) == 1 || body[1] == ' ')
	for n := len(p.openers); n > 0; n-- {
		last := p.openers[n-1]
		if last.column < indent || last.column == indent && isItem && (last.content < 0 || last.content == indent) {
			break
		}
		p.openers = p.openers[:n-1]
	}
	if !isItem && keyOf(body) == "" {
		p.lookAway()
		return false, nil
	}
	column := &p.root
	if n := len(p.openers); n > 0 {
		column = &p.openers[n-1].content
	}
	if *column < 0 {
		*column = indent
	}
	if *column != indent {
		p.lookAway()
		return false, nil
	}
	if key := keyOf(body); !isItem && isComment(body[len(key)+1:]) {
		path := key
		if n := len(p.openers); n > 0 {
			path = p.openers[n-1].path + "." + key
		}
		p.openers = append(p.openers, opener{key: key, path: path, column: indent, content: -1, line: p.line + 1})
	} else {
		p.opaque = indent
	}
	return true, nil
}

// lookAway makes the rest of the value around the line opaque.
func (p *pieces) lookAway() {
	n := len(p.openers)
	if n == 0 {
		p.stuck = true
		return
	}
	p.opaque = p.openers[n-1].column
	p.openers = p.openers[:n-1]
}

// advance counts line ends as the YAML library does: a carriage return alone is one.
func (p *pieces) advance(line []byte) {
	p.line += bytes.Count(line, []byte("\n")) + bytes.Count(line, []byte("\r")) - bytes.Count(line, []byte("\r\n"))
}

func isComment(text []byte) bool {
	text = bytes.TrimLeft(text, " ")
	return len(text) == 0 || text[0] == '#'
}

func isMarker(body []byte) bool {
	return (bytes.HasPrefix(body, []byte("---")) || bytes.HasPrefix(body, []byte("..."))) && (len(body) == 3 || body[3] == ' ')
}

// keyOf returns the key that a line of a block mapping begins with, or "".
func keyOf(body []byte) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
	key, rest, found := bytes.Cut(body, []byte(":"))
	if !found || len(key) == 0 || strings.Trim(string(key), letters) != "" || len(rest) > 0 && rest[0] != ' ' {
		return ""
	}
	return string(key)
}
