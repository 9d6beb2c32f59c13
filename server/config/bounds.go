package config

import (
	"bytes"
	"fmt"
	"io"

	"github.com/goccy/go-yaml/scanner"
	"github.com/goccy/go-yaml/token"
)

// Bounds on a piece of YAML. They are checked before it is parsed, because the parser's
// time and memory grow with the square of the depth.
const (
	maxLine   = maxPiece
	maxDepth  = 64     // levels of nesting
	maxTokens = 50_000 // the parser takes about 1 KB for each
)

const notInParts = "that cannot be read in parts: write long lists with one entry a line that begins with \"- \""

// exceeded describes the first place at which data exceeds a bound, or returns "".
// It scans without building a tree and stops at that place.
func exceeded(data []byte) (line, col int, message string) {
	if line, col := unclosed(data); line > 0 {
		return line, col, fmt.Sprintf("nested deeper than %d levels", maxDepth)
	}
	var s scanner.Scanner
	s.Init(string(data))
	var n nesting
	for count := 0; ; {
		tokens, err := s.Scan()
		if err == io.EOF {
			return 0, 0, ""
		}
		if err != nil {
			return 0, 0, "" // the parser reports it with its place
		}
		for _, t := range tokens {
			if count++; count > maxTokens {
				return t.Position.Line, t.Position.Column, fmt.Sprintf("more than %d values and separators %s", maxTokens, notInParts)
			}
			if n.add(t) > maxDepth {
				return t.Position.Line, t.Position.Column, fmt.Sprintf("nested deeper than %d levels", maxDepth)
			}
		}
	}
}

// maxUnclosed bounds the brackets that are open at a byte, those in texts and comments
// included. The scanner takes 300 bytes for each before it returns the first.
const maxUnclosed = 4096

// unclosed returns the place at which too many brackets are open, or 0.
func unclosed(data []byte) (line, col int) {
	open := 0
	for i, b := range data {
		switch b {
		case '[', '{':
			open++
		case ']', '}':
			open = max(0, open-1)
		}
		if open > maxUnclosed {
			return 1 + bytes.Count(data[:i], []byte("\n")), i - bytes.LastIndexByte(data[:i], '\n')
		}
	}
	return 0, 0
}

// nesting counts the levels that are open at a token.
type nesting struct {
	flow    int   // open brackets and braces
	columns []int // of the block collections that are open, increasing
	line    int   // of the last block indicator
	onLine  int   // colons on that line
}

func (n *nesting) add(t *token.Token) int {
	switch t.Type {
	case token.SequenceStartType, token.MappingStartType:
		n.flow++
	case token.SequenceEndType, token.MappingEndType:
		n.flow = max(0, n.flow-1)
	case token.SequenceEntryType, token.MappingKeyType:
		if n.flow == 0 {
			n.block(t.Position.Column)
		}
	case token.MappingValueType:
		if n.flow > 0 {
			break
		}
		if n.line != t.Position.Line {
			n.line, n.onLine = t.Position.Line, 0
			n.block(t.Position.IndentNum + 1)
		}
		n.onLine++
	}
	return n.flow + len(n.columns) + max(0, n.onLine-1)
}

func (n *nesting) block(column int) {
	for len(n.columns) > 0 && n.columns[len(n.columns)-1] >= column {
		n.columns = n.columns[:len(n.columns)-1]
	}
	n.columns = append(n.columns, column)
}
