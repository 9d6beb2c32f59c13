package admin

import (
	"errors"
	"time"

	"github.com/sangate/sangate/server/credential"
)

var resolutionResults = []string{"ok", "not_found", "unavailable", "error"}

// Resolution counts a look-up of a secret.
func (m *Metrics) Resolution(err error) {
	result := "error"
	switch {
	case err == nil:
		result = "ok"
	case errors.Is(err, credential.ErrCredentialNotFound):
		result = "not_found"
	case errors.Is(err, credential.ErrUnavailable):
		result = "unavailable"
	}
	m.resolutions.WithLabelValues(result).Inc()
}

// Upstream notes how the last look at an upstream went.
func (m *Metrics) Upstream(server string, err error) {
	up := 1.0
	if err != nil {
		up = 0
	}
	m.upstreams.note(server, func() { m.upstreamUp.WithLabelValues(server).Set(up) })
}

// Exchange notes how long an upstream took to answer a request's call.
func (m *Metrics) Exchange(server string, took time.Duration, request string) {
	m.upstreams.note(server, func() { m.exchanged.of(server).observe(took, request) })
}
