package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/store"
)

// Errors of Revocations.Vet.
var (
	// ErrOwn reports an entry that would deny the admin who sends it.
	ErrOwn = errors.New("it would deny your own certificate")
	// ErrEmpty reports that there is no entry.
	ErrEmpty = errors.New("there is nothing in it")
)

// Revocations serves /api/revocations: the denylist that is kept in the state
// store. Its fields must be set.
type Revocations struct {
	Store *store.Store
	// Vet reports what is wrong with an entry, or [ErrOwn].
	Vet func(r *http.Request, entry string) error
	// Changed puts what is stored in force.
	Changed func(context.Context) error
	// Audit hears of what was changed.
	Audit func(r *http.Request, action, object string)
	// Recheck decides again about a request whose body has been read.
	Recheck func(r *http.Request) error
	Log     *slog.Logger
	MaxBody int64 // bytes
}

// A revocation is an entry as it is sent.
type revocation struct {
	ID        int64     `json:"id"`
	Entry     string    `json:"entry"`
	Comment   string    `json:"comment"`
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy"`
}

// List answers GET /api/revocations with an array, the oldest first.
func (h *Revocations) List(w http.ResponseWriter, r *http.Request) {
	stored, err := h.Store.Revocations(r.Context())
	if err != nil {
		unavailable(w, r, h.Log, err)
		return
	}
	list := make([]revocation, 0, len(stored))
	for _, s := range stored {
		list = append(list, revocation(s))
	}
	respond(w, r, http.StatusOK, list)
}

// Add answers POST /api/revocations: 201 with what was added and is in force, or
// 200 with what was there already.
func (h *Revocations) Add(w http.ResponseWriter, r *http.Request) {
	var sent struct {
		Entry   string `json:"entry"`
		Comment string `json:"comment"`
	}
	if err := decode(w, r, h.MaxBody, h.Recheck, &sent); err != nil {
		answer.FailWith(w, r, err)
		return
	}
	sent.Entry = strings.TrimSpace(sent.Entry)
	if len(sent.Comment) > maxComment || !plain(sent.Comment) || !plain(sent.Entry) || strings.Contains(sent.Entry, "#") {
		answer.Fail(w, r, answer.BadRequest(fmt.Sprintf("Send one entry, such as san:uri:spiffe://example.org/tenant/acme/agent-7, and a comment of one line, at most %d bytes.", maxComment)))
		return
	}
	if err := h.Vet(r, sent.Entry); errors.Is(err, ErrOwn) {
		answer.Fail(w, r, conflict("This entry would deny your own certificate; nobody could take it out again by this way."))
		return
	} else if err != nil {
		answer.Fail(w, r, answer.BadRequest("The entry is no line of a denylist: "+strings.TrimSpace(err.Error())))
		return
	}
	kept, added, err := h.Store.AddRevocation(r.Context(), store.Revocation{Entry: sent.Entry, Comment: sent.Comment, CreatedBy: admin(r)})
	switch {
	case errors.Is(err, store.ErrFull):
		answer.Fail(w, r, conflict(fmt.Sprintf("%d entries are kept, which is the most; take out what has expired.", store.MaxRevocations)))
	case err != nil:
		unavailable(w, r, h.Log, err)
	case !added:
		h.inForce(w, r, http.StatusOK, revocation(kept))
	default:
		h.Audit(r, "revocation.add", kept.Entry)
		h.Log.Info("revocation added", "id", kept.ID, "entry", kept.Entry, "comment", kept.Comment, "by", kept.CreatedBy, "requestId", answer.RequestID(r.Context()))
		h.inForce(w, r, http.StatusCreated, revocation(kept))
	}
}

// Delete answers DELETE /api/revocations/{id}: 204.
func (h *Revocations) Delete(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		answer.Fail(w, r, answer.NotFound)
		return
	}
	gone, err := h.Store.DeleteRevocation(r.Context(), id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		answer.Fail(w, r, answer.NotFound)
	case err != nil:
		unavailable(w, r, h.Log, err)
	default:
		h.Audit(r, "revocation.delete", gone.Entry)
		h.Log.Info("revocation deleted", "id", gone.ID, "entry", gone.Entry, "by", admin(r), "requestId", answer.RequestID(r.Context()))
		h.inForce(w, r, http.StatusNoContent, nil)
	}
}

// inForce answers once the change is in force.
func (h *Revocations) inForce(w http.ResponseWriter, r *http.Request, status int, body any) {
	if err := h.Changed(r.Context()); err != nil {
		unavailable(w, r, h.Log, err)
		return
	}
	respond(w, r, status, body)
}
