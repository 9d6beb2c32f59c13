package tool

import (
	"encoding/json"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/shape"
)

// Size is that of the result, in bytes.
func (r *Result) Size() int {
	if r == nil {
		return 0
	}
	return len(r.Structured) + len(r.Content)
}

// wellFormed reports whether a result can go into an answer as it stands.
func wellFormed(res *Result) bool {
	structured, content := jsontext.Value(res.Structured), jsontext.Value(res.Content)
	return (structured == nil || anyJSON.Accepts(structured) || structured.IsValid()) &&
		(content == nil || (content.Kind() == '[' && (anyJSON.Accepts(content) || content.IsValid())))
}

var anyJSON = shape.Of(true)

// Text returns a result of one text block.
func Text(text string) *Result {
	block, err := json.Marshal([]map[string]string{{"type": "text", "text": text}})
	if err != nil {
		panic(err) // strings always encode
	}
	return &Result{Content: block}
}
