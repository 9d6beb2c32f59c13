package openapi

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/sangate/sangate/server/egress"
)

// base is where the operation is: as configured, or at the first server that the
// document names for it.
func (im *importer) base(item *openapi3.PathItem, op *openapi3.Operation) (string, error) {
	if im.opts.BaseURL != "" {
		return strings.TrimSuffix(im.opts.BaseURL, "/"), nil
	}
	servers := im.doc.Servers
	if len(item.Servers) > 0 {
		servers = item.Servers
	}
	if op.Servers != nil && len(*op.Servers) > 0 {
		servers = *op.Servers
	}
	if len(servers) == 0 {
		return "", errors.New("the document names no server: set baseUrl")
	}
	base := servers[0].URL
	if len(base) > maxServer {
		return "", fmt.Errorf("its server has more than %d bytes", maxServer)
	}
	for name, v := range servers[0].Variables {
		if base = strings.ReplaceAll(base, "{"+name+"}", v.Default); len(base) > maxServer {
			return "", fmt.Errorf("its server has more than %d bytes", maxServer)
		}
	}
	if err := egress.CheckURL(base); err != nil || strings.ContainsAny(base, "{}?") {
		return "", fmt.Errorf("its server %s is no https URL: set baseUrl", egress.Named(base))
	}
	if secret := im.opts.Credential != "" || im.opts.CredentialID != 0; secret && im.opts.From != "" && !sameHost(base, im.opts.From) {
		return "", fmt.Errorf("its server %s, which would get the credential, is not where the document comes from: set baseUrl", egress.Named(base))
	}
	return strings.TrimSuffix(base, "/"), nil
}

// sameHost reports whether two URLs have scheme, host and port in common.
func sameHost(a, b string) bool {
	u, err1 := url.Parse(a)
	v, err2 := url.Parse(b)
	port := func(u *url.URL) string {
		return cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	return err1 == nil && err2 == nil && u.Scheme == v.Scheme && strings.EqualFold(u.Hostname(), v.Hostname()) && port(u) == port(v)
}
