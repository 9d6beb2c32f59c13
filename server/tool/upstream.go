package tool

// UpstreamKinds are the ways in which what stands behind a tool fails.
const (
	UpstreamFailed      = "upstream_error"
	UpstreamUnavailable = "unavailable"
	UpstreamTimeout     = "timeout"
)

// An UpstreamError says that what stands behind a tool did not do its part. The
// caller is told the kind, the log the rest.
type UpstreamError struct {
	Kind string
	Said bool // it is what the upstream answered; else there was no answer
	Err  error
}

func (e *UpstreamError) Error() string { return e.Err.Error() }
func (e *UpstreamError) Unwrap() error { return e.Err }

// Message is what the caller is told.
func (e *UpstreamError) Message() string {
	switch e.Kind {
	case UpstreamUnavailable:
		return "What stands behind this tool cannot be reached now."
	case UpstreamTimeout:
		return "What stands behind this tool took too long."
	}
	return "What stands behind this tool failed."
}
