package mcp

import "net/http"

// PostBySDK is Post without the direct path.
func (h *Handler) PostBySDK(w http.ResponseWriter, r *http.Request) {
	h.post(w, r, func(http.ResponseWriter, *http.Request, *message) bool { return false })
}

// PostDirect is Post that tells whether the direct path has answered.
func (h *Handler) PostDirect(w http.ResponseWriter, r *http.Request) (direct bool) {
	h.post(w, r, func(w http.ResponseWriter, r *http.Request, m *message) bool {
		direct = h.direct(w, r, m)
		return direct
	})
	return direct
}

// Metas is how many _meta are remembered.
func (h *Handler) Metas() int { return len(h.metas.known) }
