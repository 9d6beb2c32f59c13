// Package api is what operators change while the gate runs: JSON below /api, for
// admins only. Who may is decided before it is called. A change is stored first,
// then put in force here, then acknowledged; the other replicas follow by
// watching the store.
package api

import (
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
)

// maxComment bounds a comment or description, in bytes.
const maxComment = 1024

// admin is who asks.
func admin(r *http.Request) string { return auth.DecisionFrom(r.Context()).Principal.Name() }

func conflict(message string) answer.Error {
	return answer.Error{Status: http.StatusConflict, Code: "conflict", Message: message}
}

// plain accepts one line of text, in the order in which it is shown.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
	})
}

// decode reads a body strictly: each name once, none that is not known.
//
// The body may arrive long after the request was admitted: recheck decides again.
func decode(w http.ResponseWriter, r *http.Request, limit int64, recheck func(*http.Request) error, v any) error {
	body, err := answer.Body(w, r, limit)
	if err != nil {
		return err
	}
	if err := recheck(r); err != nil {
		return err
	}
	if err := jsonv2.Unmarshal(body, v, jsonv2.RejectUnknownMembers(true)); err != nil {
		e := answer.BadRequest("Send one JSON object with the names that are known here, each once.")
		return &e
	}
	return nil
}

// respond answers with body as JSON, or without one where the status has none.
func respond(w http.ResponseWriter, r *http.Request, status int, body any) {
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	data, err := jsonv2.Marshal(body)
	if err != nil {
		answer.Fail(w, r, answer.Internal)
		return
	}
	answer.JSON(w, status, data)
}

func unavailable(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	log.Error("state store", "err", err, "requestId", answer.RequestID(r.Context()))
	answer.Fail(w, r, answer.Error{Status: http.StatusServiceUnavailable, Code: "unavailable",
		Message: "The state store cannot be used now.", RetryAfter: 5 * time.Second})
}
