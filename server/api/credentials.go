package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/store"
)

// Credentials serves /api/credentials. Its fields must be set.
type Credentials struct {
	Vault func() *credential.Vault // nil: there is none
	Knows func(tenant string) bool
	// Uses tells who refers to a credential.
	Uses func(credential.Info) []string
	// Changed has those look again who refer to it.
	Changed func(id int64)
	// Audit hears of what was changed.
	Audit func(r *http.Request, action, object string)
	// Recheck decides again about a request whose body has been read.
	Recheck func(r *http.Request) error
	Log     *slog.Logger
	MaxBody int64 // bytes
}

// List answers GET /api/credentials with an array, by id; with ?tenantId= of that
// one only. There are no values in it.
func (h *Credentials) List(w http.ResponseWriter, r *http.Request) {
	v, ok := h.vault(w, r)
	if !ok {
		return
	}
	list, err := v.List(r.Context())
	if err != nil {
		unavailable(w, r, h.Log, err)
		return
	}
	out := make([]credential.Info, 0, len(list))
	tenant, only := r.URL.Query().Get("tenantId"), r.URL.Query().Has("tenantId")
	for _, c := range list {
		if !only || c.Tenant == tenant {
			out = append(out, c)
		}
	}
	respond(w, r, http.StatusOK, out)
}

// Get answers GET /api/credentials/{id} with all but the value, and its version as
// ETag.
func (h *Credentials) Get(w http.ResponseWriter, r *http.Request) {
	v, id, ok := h.one(w, r)
	if !ok {
		return
	}
	info, err := v.Info(r.Context(), id)
	if err != nil {
		h.failed(w, r, err)
		return
	}
	w.Header().Set("ETag", etag(info.Version))
	respond(w, r, http.StatusOK, info)
}

// Add answers POST /api/credentials: 201 with the id.
func (h *Credentials) Add(w http.ResponseWriter, r *http.Request) {
	v, ok := h.vault(w, r)
	if !ok {
		return
	}
	var sent struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Type        credential.Type `json:"type"`
		Value       string          `json:"value"`
		Header      string          `json:"header"`
		Tenant      string          `json:"tenantId"`
	}
	if err := decode(w, r, h.MaxBody, h.Recheck, &sent); err != nil {
		answer.FailWith(w, r, err)
		return
	}
	switch {
	case len(sent.Description) > maxComment || !plain(sent.Description):
		answer.Fail(w, r, answer.BadRequest(fmt.Sprintf("Send a description of one line, at most %d bytes.", maxComment)))
		return
	case sent.Tenant != "" && !h.Knows(sent.Tenant):
		answer.Fail(w, r, answer.BadRequest("There is no such tenant: no certificate could be mapped to it."))
		return
	}
	secret := &credential.Secret{Name: sent.Name, Tenant: sent.Tenant, Type: sent.Type, Header: sent.Header, Value: sent.Value}
	info, err := v.Add(r.Context(), secret, sent.Description, admin(r))
	if err != nil {
		h.failed(w, r, err)
		return
	}
	h.changed(r, "credential.add", info)
	w.Header().Set("ETag", etag(info.Version))
	respond(w, r, http.StatusCreated, struct {
		ID   int64  `json:"credentialId"`
		Name string `json:"name"`
	}{info.ID, info.Name})
}

// Update answers PATCH /api/credentials/{id}: 200 with the new version. With
// If-Match, or version in the body, only where it is at that one.
func (h *Credentials) Update(w http.ResponseWriter, r *http.Request) {
	v, id, ok := h.one(w, r)
	if !ok {
		return
	}
	var sent struct {
		Value   string `json:"value"`
		Version int64  `json:"version"`
	}
	if err := decode(w, r, h.MaxBody, h.Recheck, &sent); err != nil {
		answer.FailWith(w, r, err)
		return
	}
	expected, ok := h.expected(w, r, sent.Version)
	if !ok {
		return
	}
	info, err := v.Update(r.Context(), id, sent.Value, expected)
	if err != nil {
		h.failed(w, r, err)
		return
	}
	h.changed(r, "credential.rotate", info)
	w.Header().Set("ETag", etag(info.Version))
	respond(w, r, http.StatusOK, struct {
		ID      int64 `json:"credentialId"`
		Version int64 `json:"version"`
	}{info.ID, info.Version})
}

// Delete answers DELETE /api/credentials/{id}: 204, or 409 while something refers
// to it.
func (h *Credentials) Delete(w http.ResponseWriter, r *http.Request) {
	v, id, ok := h.one(w, r)
	if !ok {
		return
	}
	expected, ok := h.expected(w, r, 0)
	if !ok {
		return
	}
	info, err := v.Info(r.Context(), id)
	if err != nil {
		h.failed(w, r, err)
		return
	}
	if uses := h.Uses(info); len(uses) > 0 {
		answer.Fail(w, r, conflict("In use by "+strings.Join(uses, ", ")+": take it out of the configuration there first."))
		return
	}
	if info, err = v.Delete(r.Context(), id, expected); err != nil {
		h.failed(w, r, err)
		return
	}
	h.changed(r, "credential.delete", info)
	respond(w, r, http.StatusNoContent, nil)
}

func (h *Credentials) changed(r *http.Request, action string, info credential.Info) {
	object := credential.Describe(info)
	h.Audit(r, action, object)
	h.Log.Info("credential changed", "action", action, "credential", object, "version", info.Version, "by", admin(r), "requestId", answer.RequestID(r.Context()))
	h.Changed(info.ID)
}

func (h *Credentials) vault(w http.ResponseWriter, r *http.Request) (*credential.Vault, bool) {
	v := h.Vault()
	if v == nil {
		answer.Fail(w, r, conflict("The gate has no credential store: set credentials.kek in its configuration."))
	}
	return v, v != nil
}

func (h *Credentials) one(w http.ResponseWriter, r *http.Request) (*credential.Vault, int64, bool) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id <= 0 {
		answer.Fail(w, r, answer.NotFound)
		return nil, 0, false
	}
	v, ok := h.vault(w, r)
	return v, id, ok
}

// expected is the version that the request wants it to be at; 0: any.
func (h *Credentials) expected(w http.ResponseWriter, r *http.Request, version int64) (int64, bool) {
	match := r.Header.Values("If-Match")
	if len(match) == 0 || (len(match) == 1 && match[0] == "*") {
		return version, true
	}
	n, err := strconv.ParseInt(strings.Trim(match[0], `"`), 10, 64)
	// Only the spelling of ETag: ParseInt also accepts "+2" and "02".
	if len(match) > 1 || err != nil || n <= 0 || match[0] != etag(n) || (version != 0 && version != n) {
		answer.Fail(w, r, answer.BadRequest(`Send one If-Match, the ETag as it was told, such as "2".`))
		return 0, false
	}
	return n, true
}

func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

func (h *Credentials) failed(w http.ResponseWriter, r *http.Request, err error) {
	invalid, bad := errors.AsType[*credential.InvalidError](err)
	switch {
	case bad:
		answer.Fail(w, r, answer.BadRequest("The credential is not taken: "+invalid.Error()+"."))
	case errors.Is(err, credential.ErrCredentialNotFound):
		answer.Fail(w, r, answer.NotFound)
	case errors.Is(err, store.ErrVersion) && r.Header.Get("If-Match") != "":
		answer.Fail(w, r, answer.Error{Status: http.StatusPreconditionFailed, Code: "precondition_failed", Message: "It has been changed since: read it again."})
	case errors.Is(err, store.ErrVersion):
		answer.Fail(w, r, conflict("It has been changed since: read it again."))
	case errors.Is(err, store.ErrExists):
		answer.Fail(w, r, conflict("The tenant has a credential of this name: change that one, or choose another name."))
	case errors.Is(err, store.ErrFull):
		answer.Fail(w, r, conflict(fmt.Sprintf("%d credentials are kept, which is the most.", store.MaxCredentials)))
	case errors.Is(err, credential.ErrNotInitialized):
		answer.Fail(w, r, conflict("The credential store has no keys yet: run `sangate credential init` where the gate runs."))
	default:
		unavailable(w, r, h.Log, err)
	}
}
