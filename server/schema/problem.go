package schema

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Bounds of what is reported of one instance.
const (
	maxProblems = 20
	maxShown    = 100  // values of an enum, or names, in one message
	maxText     = 256  // bytes of a text of the instance in a message
	maxMessage  = 1024 // bytes
	maxPointer  = 1024 // bytes
)

// A place is where in the instance a value is. The zero place is the whole.
type place struct {
	parent *place
	name   string
	index  int // -1 if it is by name
}

// A finding is a problem before it is put into words.
type finding struct {
	at   *place
	kind jsonschema.ErrorKind
}

func report(findings []finding) *Invalid {
	p := message.NewPrinter(language.English)
	out := &Invalid{}
	for _, f := range findings {
		message := cut(f.kind.LocalizedString(p), maxMessage)
		out.Problems = append(out.Problems, Problem{Pointer: f.at.pointer(), Message: message})
	}
	return out
}

// pointer returns the JSON pointer, cut if it is long.
func (p *place) pointer() string {
	var steps []*place
	for ; p.parent != nil; p = p.parent {
		steps = append(steps, p)
	}
	var b strings.Builder
	for i := len(steps) - 1; i >= 0 && b.Len() <= maxPointer; i-- {
		b.WriteByte('/')
		if steps[i].index >= 0 {
			b.WriteString(strconv.Itoa(steps[i].index))
			continue
		}
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(cut(steps[i].name, maxPointer)))
	}
	return cut(b.String(), maxPointer)
}

// add appends findings up to the bound.
func add(to []finding, more ...finding) []finding {
	return append(to, more[:min(len(more), maxProblems-len(to))]...)
}

// cut returns at most about limit bytes of s, and marks that it was cut.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}

func cutAll(names []string) []string {
	names = names[:min(len(names), maxShown)]
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = cut(name, maxText)
	}
	return out
}

// budget returns how many steps checking an instance of n bytes may take. A step
// takes about a tenth of a microsecond.
func budget(n int) int { return int(min(float64(math.MaxInt), 5e6+10*float64(n))) }

// costly is the kind of finding for a check that was ended.
type costly struct{ steps int }

func (*costly) KeywordPath() []string { return nil }

func (k *costly) LocalizedString(*message.Printer) string {
	return fmt.Sprintf("takes too much work to check against the schema: more than %d steps or %d levels",
		k.steps, maxDepth)
}

// problem returns the finding for a value that is not in e.
func (e *enum) problem() jsonschema.ErrorKind {
	shown := make([]any, len(e.want))
	for i, v := range e.want {
		shown[i] = v
		if s, ok := v.(string); ok {
			shown[i] = cut(s, maxText)
		}
	}
	if e.konst {
		return &kind.Const{Want: shown[0]}
	}
	return &kind.Enum{Want: shown}
}
