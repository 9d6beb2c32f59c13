package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/keyring"
	"github.com/sangate/sangate/server/store"
)

// Keys serves /api/keys. Its fields must be set.
type Keys struct {
	Store      *store.Store
	Configured func() []apikey.Entry
	Knows      func(tenant string) bool
	// Changed puts what is stored in force.
	Changed func(context.Context) error
	// Audit hears of what was changed.
	Audit func(r *http.Request, action, object string)
	// Recheck decides again about a request whose body has been read.
	Recheck func(r *http.Request) error
	Log     *slog.Logger
	Now     func() time.Time
	MaxBody int64 // bytes
}

// List answers GET /api/keys, with ?tenant= of that one only: ids and dates,
// never a key.
func (h *Keys) List(w http.ResponseWriter, r *http.Request) {
	list, err := keyring.List(r.Context(), h.Store, h.Configured(), r.URL.Query().Get("tenant"), h.Now())
	if err != nil {
		unavailable(w, r, h.Log, err)
		return
	}
	respond(w, r, http.StatusOK, list)
}

// Mint answers POST /api/keys: 201 with the key, which is in force and is not
// shown again.
func (h *Keys) Mint(w http.ResponseWriter, r *http.Request) {
	var sent struct {
		Tenant      string `json:"tenant"`
		Description string `json:"description"`
		Lifetime    string `json:"lifetime"`
		SAN         string `json:"san"`
		Certificate string `json:"certificate"`
	}
	if err := decode(w, r, h.MaxBody, h.Recheck, &sent); err != nil {
		answer.FailWith(w, r, err)
		return
	}
	pin := apikey.Pin{SAN: sent.SAN, Certificate: sent.Certificate}
	lifetime, err := duration(sent.Lifetime)
	switch {
	case pin.Check() != nil:
		answer.Fail(w, r, answer.BadRequest("Pin the key to a SAN rule (san), to the SHA-256 of a certificate (certificate), to both or to none."))
		return
	case err != nil || len(sent.Description) > maxComment || !plain(sent.Description):
		answer.Fail(w, r, answer.BadRequest(`Send a tenant, a description of one line, and a lifetime such as "2160h", or none for ever.`))
		return
	case !h.Knows(sent.Tenant):
		answer.Fail(w, r, answer.BadRequest("There is no such tenant: no certificate could be mapped to it."))
		return
	}
	minted, err := keyring.Mint(r.Context(), h.Store, keyring.Order{Tenant: sent.Tenant, Description: sent.Description, Lifetime: lifetime, Pin: pin}, h.Now())
	if err != nil {
		unavailable(w, r, h.Log, err)
		return
	}
	h.Audit(r, "key.mint", minted.ID)
	h.Log.Info("key minted", "id", minted.ID, "tenant", minted.Tenant, "notAfter", minted.NotAfter, "by", admin(r), "requestId", answer.RequestID(r.Context()))
	h.inForce(w, r, http.StatusCreated, minted)
}

// Rotate answers POST /api/keys/{id}/rotate: 201 with a key in the place of the
// other, which stays good for the overlap.
func (h *Keys) Rotate(w http.ResponseWriter, r *http.Request) {
	var sent struct {
		Overlap  string `json:"overlap"`
		Lifetime string `json:"lifetime"`
	}
	if err := decode(w, r, h.MaxBody, h.Recheck, &sent); err != nil {
		answer.FailWith(w, r, err)
		return
	}
	overlap, err := duration(sent.Overlap)
	lifetime, err2 := duration(sent.Lifetime)
	if errors.Join(err, err2) != nil || sent.Overlap == "" {
		answer.Fail(w, r, answer.BadRequest(`Send an overlap such as "24h" ("0s" for none), and a lifetime, or none for ever.`))
		return
	}
	id := r.PathValue("id")
	minted, err := keyring.Rotate(r.Context(), h.Store, h.Configured(), id, overlap, lifetime, h.Now())
	if err != nil {
		h.failed(w, r, err)
		return
	}
	h.Audit(r, "key.rotate", id+" to "+minted.ID)
	h.Log.Info("key rotated", "id", id, "to", minted.ID, "tenant", minted.Tenant, "overlap", overlap, "by", admin(r), "requestId", answer.RequestID(r.Context()))
	h.inForce(w, r, http.StatusCreated, minted)
}

// Revoke answers DELETE /api/keys/{id}: 204, for good.
func (h *Keys) Revoke(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if err := keyring.Revoke(r.Context(), h.Store, h.Configured(), id, h.Now()); err != nil {
		h.failed(w, r, err)
		return
	}
	h.Audit(r, "key.revoke", id)
	h.Log.Info("key revoked", "id", id, "by", admin(r), "requestId", answer.RequestID(r.Context()))
	h.inForce(w, r, http.StatusNoContent, nil)
}

func (h *Keys) failed(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, store.ErrNotFound):
		answer.Fail(w, r, answer.NotFound)
	case errors.Is(err, keyring.ErrConfigured):
		answer.Fail(w, r, conflict("This key stands in the configuration: change it there."))
	case errors.Is(err, keyring.ErrEnded):
		answer.Fail(w, r, conflict("This key is no longer good: mint another."))
	default:
		unavailable(w, r, h.Log, err)
	}
}

func (h *Keys) inForce(w http.ResponseWriter, r *http.Request, status int, body any) {
	if err := h.Changed(r.Context()); err != nil {
		unavailable(w, r, h.Log, err)
		return
	}
	respond(w, r, status, body)
}

// duration reads one that is not negative; nothing is zero.
func duration(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err == nil && d < 0 {
		err = errors.New("negative")
	}
	return d, err
}
