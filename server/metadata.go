package server

import (
	"net/http"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/issuers"
)

// metadata is the protected resource metadata of the whole gate and of /mcp (RFC
// 9728, section 2). Without an issuer it names no authorization server: keys are
// made by the operator.
func (s *Server) metadata(w http.ResponseWriter, r *http.Request) {
	tokens := s.gate.Snapshot().Tokens
	body, err := jsonv2.Marshal(struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers,omitempty"`
		Audience []string `json:"audiences_supported,omitempty"` // ours: what to ask a token for
		Scopes   []string `json:"scopes_supported,omitempty"`
		Methods  []string `json:"bearer_methods_supported"`
		Bound    bool     `json:"tls_client_certificate_bound_access_tokens"`
	}{"https://" + r.Host + r.URL.Path[len(answer.MetadataPath):], issuers.Servers(tokens), issuers.Audiences(tokens), strings.Fields(tokens.Scopes()), []string{"header"}, true})
	if err != nil {
		answer.Fail(w, r, answer.Internal)
		return
	}
	answer.JSON(w, http.StatusOK, body)
}
