package revocation

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/sangate/sangate/pki"
)

// Bounds of a denylist.
const (
	MaxDenyLines = 1_000_000
	maxDenyLine  = 4096 // bytes
	maxDenyRules = 1000 // each is tried on each name
	maxLineError = 100  // told; more are counted
	maxKeyID     = 64   // bytes
)

// ParseDenylist reads a denylist; name is what errors call it. Lines are
//
//	sha256:<hex of the certificate's SHA-256>
//	spki:<hex of the public key's SHA-256>
//	serial:<hex>[@<hex of the issuer's key identifier>]
//	san:<rule>
//
// Hexadecimal is taken in either case, with colons between bytes or without.
// A '#' at the start or after a blank begins a comment. Every bad line is
// reported, as a [*LineError], and then there is no list. Compile makes a SAN
// rule; it must not be slow nor allocate when called.
// An r that can seek is read twice: first to check and count, so that a list that is
// refused takes no memory and one that is accepted no more than it has to.
func ParseDenylist(r io.Reader, name string, compile func(rule string) (func(pki.SAN) bool, error)) (*Denylist, error) {
	p := denyParser{list: &Denylist{name: name}, compile: compile}
	if again, ok := r.(io.Seeker); ok {
		count := denyParser{list: &Denylist{name: name}, compile: compile, counts: true}
		if err := count.all(r); err != nil {
			return nil, err
		}
		if _, err := again.Seek(0, io.SeekStart); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		p.certs = make([]record[[32]byte, uint32], 0, count.certified)
		p.spkis = make([]record[[32]byte, uint32], 0, count.keyed)
		p.serials = make([]record[serial, uint32], 0, count.numbered)
		p.issued = make([]record[issued, uint32], 0, count.numberedBy)
	}
	if err := p.all(r); err != nil {
		return nil, err
	}
	p.list.certs, p.list.spkis = newTable(p.certs), newTable(p.spkis)
	p.list.serials, p.list.issued = newTable(p.serials), newTable(p.issued)
	return p.list, nil
}

// all reads all lines.
func (p *denyParser) all(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, maxDenyLine), maxDenyLine)
	for lines.Scan() {
		if p.line++; p.line > MaxDenyLines {
			return fmt.Errorf("%s: more than %d lines", p.list.name, MaxDenyLines)
		}
		p.read(lines.Bytes())
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		p.line++
		p.bad(0, fmt.Errorf("longer than %d bytes; the rest was not read", maxDenyLine))
	} else if err != nil {
		return fmt.Errorf("%s: %w", p.list.name, err)
	}
	if p.failed > 0 {
		if more := p.failed - len(p.errs); more > 0 {
			p.errs = append(p.errs, fmt.Errorf("%s: %d more bad lines", p.list.name, more))
		}
		return errors.Join(p.errs...)
	}
	return nil
}

type denyParser struct {
	list    *Denylist
	compile func(string) (func(pki.SAN) bool, error)

	line   int
	failed int
	errs   []error

	counts                                 bool // entries are checked and counted, not kept
	certified, keyed, numbered, numberedBy int

	certs, spkis []record[[32]byte, uint32]
	serials      []record[serial, uint32]
	issued       []record[issued, uint32]
}

func (p *denyParser) bad(col int, err error) {
	if p.failed++; p.failed <= maxLineError {
		p.errs = append(p.errs, &LineError{File: p.list.name, Line: p.line, Col: col + 1, Err: err})
	}
}

// read reads one line; columns in it are counted from 0.
func (p *denyParser) read(text []byte) {
	if p.line == 1 {
		text = bytes.TrimPrefix(text, []byte("\ufeff"))
	}
	rest, col := entryOf(text)
	if len(rest) == 0 {
		return
	}
	kind, value, found := bytes.Cut(rest, []byte(":"))
	if !found {
		p.bad(col, fmt.Errorf("%.40q is not an entry: write sha256:, spki:, serial: or san: and a value", rest))
		return
	}
	at := col + len(kind) + 1
	switch string(kind) {
	case "sha256":
		p.digest(&p.certs, &p.certified, at, value)
	case "spki":
		p.digest(&p.spkis, &p.keyed, at, value)
	case "serial":
		p.serial(at, value)
	case "san":
		p.rule(at, string(value))
	default:
		p.bad(col, fmt.Errorf("%.40q: use sha256, spki, serial or san", kind))
	}
}

// entryOf returns the entry of a line without comment and blanks around, and the
// column it begins in.
func entryOf(text []byte) (entry []byte, col int) {
	entry = bytes.TrimLeft(text, " \t")
	col = len(text) - len(entry)
	for i := range len(entry) {
		if entry[i] == '#' && (i == 0 || entry[i-1] == ' ' || entry[i-1] == '\t') {
			entry = entry[:i]
			break
		}
	}
	return bytes.TrimRight(entry, " \t\r\n"), col
}

func (p *denyParser) digest(to *[]record[[32]byte, uint32], n *int, col int, value []byte) {
	var room [sha256.Size]byte
	sum, at, err := parseHex(room[:0], value)
	switch {
	case err != nil:
		p.bad(col+at, err)
	case len(sum) != sha256.Size:
		p.bad(col, fmt.Errorf("a SHA-256 has 64 hexadecimal digits, not %d", 2*len(sum)))
	case p.counts:
		*n++
	default:
		*to = append(*to, record[[32]byte, uint32]{[32]byte(sum), uint32(p.line)})
	}
}

func (p *denyParser) serial(col int, value []byte) {
	number, issuer, with := bytes.Cut(value, []byte("@"))
	digits, prefixed := bytes.CutPrefix(number, []byte("0x"))
	var room [sha256.Size]byte
	magnitude, at, err := parseHex(room[:0], digits)
	if err != nil {
		p.bad(col+len(number)-len(digits)+at, err)
		return
	}
	if magnitude = bytes.TrimLeft(magnitude, "\x00"); len(magnitude) > maxSerial {
		p.bad(col, fmt.Errorf("a serial number has at most %d bytes, not %d", maxSerial, len(magnitude)))
		return
	}
	if !prefixed && decimal(digits) {
		p.bad(col, errors.New("looks like a decimal number; write it in hexadecimal, or 0x before it if it is"))
		return
	}
	var s serial
	copy(s[maxSerial-len(magnitude):], magnitude)
	if !with && p.counts {
		p.numbered++
		return
	}
	if !with {
		p.serials = append(p.serials, record[serial, uint32]{s, uint32(p.line)})
		return
	}
	id, at, err := parseHex(nil, issuer)
	switch {
	case err != nil:
		p.bad(col+len(number)+1+at, err)
	case len(id) > maxKeyID:
		p.bad(col+len(number)+1, fmt.Errorf("a key identifier of %d bytes; at most %d", len(id), maxKeyID))
	case p.counts:
		p.numberedBy++
	default:
		p.issued = append(p.issued, record[issued, uint32]{issued{s, sha256.Sum256(id)}, uint32(p.line)})
	}
}

func (p *denyParser) rule(col int, value string) {
	if p.compile == nil || len(p.list.rules) == maxDenyRules {
		p.bad(col, fmt.Errorf("no more than %d SAN rules", len(p.list.rules)))
		return
	}
	match, err := p.compile(value)
	if err != nil {
		p.bad(col, err)
		return
	}
	p.list.rules = append(p.list.rules, denyRule{match, uint32(p.line)})
}

// decimal tells whether digits are likely a decimal number: step-ca writes
// serial numbers of 128 bits so, in up to 39 digits, and misread as hexadecimal
// they would deny nobody. Of hexadecimal numbers of 33 digits and more, one in
// five million has no letter.
func decimal(digits []byte) bool {
	digits = bytes.TrimLeft(digits, "0")
	return len(digits) > 32 && len(bytes.Trim(digits, "0123456789")) == 0
}

// parseHex appends bytes in hexadecimal to room; an error is at the returned offset.
func parseHex(room, text []byte) (value []byte, at int, err error) {
	if len(text) == 0 {
		return nil, 0, errors.New("hexadecimal digits are missing")
	}
	digits := text
	if bytes.Contains(text, []byte(":")) {
		for i := range len(text) {
			if (text[i] == ':') != (i%3 == 2) {
				return nil, i, errors.New("a colon goes between two bytes")
			}
		}
		if len(text)%3 != 2 {
			return nil, len(text), errors.New("half a byte after the last colon")
		}
		digits = bytes.ReplaceAll(text, []byte(":"), nil)
	}
	for i := range len(text) {
		if c := text[i] | 0x20; text[i] != ':' && (c < '0' || c > '9') && (c < 'a' || c > 'f') || text[i] < '0' {
			return nil, i, fmt.Errorf("%q is not a hexadecimal digit", text[i])
		}
	}
	if len(digits)%2 == 1 {
		digits = append([]byte("0"), digits...)
	}
	value, err = hex.AppendDecode(room, digits)
	return value, 0, err
}
