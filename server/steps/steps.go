// Package steps has what was looked at, one thing after the other, up to the first
// that ends it: the form of what explain and doctor report.
package steps

// A Step is one thing that was looked at.
type Step struct {
	Name    string   `json:"name"`
	Outcome string   `json:"outcome"`
	Detail  []string `json:"detail,omitempty"`
}

// The outcomes of a step.
const (
	OK         = "ok"
	Wrong      = "wrong"       // of a client's side
	Refused    = "refused"     // of a decision
	NotReached = "not reached" // one before it ended it
)
