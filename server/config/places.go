package config

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Bounds on what is kept of an invalid configuration.
const (
	maxProblems = 500
	maxMessage  = 1 << 10 // bytes
	maxItems    = 250_000 // of one list
)

// A place is where a value stands; line and col are 0 where it is no file.
type place struct {
	file      string
	line, col int
}

// at is where a node begins.
func (d *decoder) at(n ast.Node) place {
	if d.override || n == nil || n.GetToken() == nil {
		return place{file: d.file}
	}
	pos := start(n)
	return d.position(d.piece.lineOf(pos.Line), pos.Column)
}

// position is a place in what is decoded; a --set has no lines.
func (d *decoder) position(line, col int) place {
	if d.override {
		return place{file: d.file}
	}
	return place{d.file, line, col}
}

func (d *decoder) report(at place, format string, args ...any) {
	if d.full() {
		return
	}
	text := fmt.Sprintf(format, args...)
	if len(text) > maxMessage {
		text = d.redact.whole(text) // before it is cut: a part of a value would not be found
		text = strings.ToValidUTF8(text[:min(len(text), maxMessage)], "")
	}
	if d.problems = append(d.problems, Problem{File: at.file, Line: at.line, Col: at.col, Message: text}); d.full() {
		more := fmt.Sprintf("more than %d problems; the others are not listed", maxProblems)
		d.problems = append(d.problems, Problem{File: d.file, Message: more})
	}
}

// full reports whether no more problems are noted.
func (d *decoder) full() bool { return d.stopped || len(d.problems) >= maxProblems }

// fail refuses the value that is being decoded.
func (d *decoder) fail(n ast.Node, format string, args ...any) {
	d.bad[d.path] = true
	d.fresh[len(d.problems)] = d.marked[d.path]
	d.report(d.at(n), format, args...)
}

// failAt reports a problem with the value at a path, or with the nearest one
// around it that stands in the file, unless that was refused already.
func (d *decoder) failAt(path, format string, args ...any) {
	d.fresh[len(d.problems)] = d.marked[path]
	for !d.bad[path] {
		if at, ok := d.places[path]; ok {
			d.report(at, format, args...)
			return
		}
		path = path[:max(strings.LastIndexByte(path, '.'), strings.LastIndexByte(path, '['), 0)]
	}
}

// start is where a value begins: the token of a block mapping is its first
// colon.
func start(n ast.Node) *token.Position {
	switch m := n.(type) {
	case *ast.MappingNode:
		if len(m.Values) > 0 {
			return m.Values[0].Key.GetToken().Position
		}
	case *ast.MappingValueNode:
		return m.Key.GetToken().Position
	}
	return n.GetToken().Position
}

// mark notes that the value at path holds an interpolated one, and so do those around it.
func (d *decoder) mark(path string) {
	for path != "" && !d.marked[path] {
		d.marked[path] = true
		path = path[:max(strings.LastIndexByte(path, '.'), strings.LastIndexByte(path, '['), 0)]
	}
}

// redacted returns the problems in order, without interpolated values.
func (d *decoder) redacted() Problems {
	for i := range d.problems {
		p := &d.problems[i]
		if p.Message = d.redact.whole(p.Message); d.fresh[i] {
			p.Message = d.redact.fragments(p.Message)
		}
	}
	return d.problems.sorted()
}
