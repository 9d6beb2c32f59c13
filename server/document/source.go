package document

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/sangate/sangate/pki/regularfile"
	"github.com/sangate/sangate/pki/stepca/atomicfile"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/egress"
	"github.com/sangate/sangate/server/openapi"
)

// read returns the text of a document from its file or URL.
func (d *document) read(ctx context.Context, src Source) ([]byte, error) {
	if !d.conf.Remote() {
		return regularfile.Read(string(d.conf.Document), openapi.MaxDocument)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	address := string(d.conf.Document)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	client := src.Guard.Client(egress.Target{})
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = fmt.Errorf("%s: %w", shown(address), failed.Err)
	}
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d", shown(address), res.StatusCode)
	}
	return io.ReadAll(io.LimitReader(res.Body, openapi.MaxDocument+1))
}

// shown returns an address without a query, which may hold a secret.
func shown(address string) string {
	if !strings.Contains(address, "://") {
		return address
	}
	address, _, _ = strings.Cut(address, "?")
	return address
}

// copyPath is where a document that was fetched is kept: what another address had
// under the same name is not used.
func copyPath(state string, conf *config.OpenAPI) string {
	sum := sha256.Sum256([]byte(conf.Document))
	return filepath.Join(state, fmt.Sprintf("openapi-%s-%x", conf.Name, sum[:4]))
}

func keep(state string, conf *config.OpenAPI, text []byte) error {
	return atomicfile.Write(copyPath(state, conf), text, 0o600)
}

func kept(state string, conf *config.OpenAPI) ([]byte, error) {
	return regularfile.Read(copyPath(state, conf), openapi.MaxDocument)
}

// Offline returns the text of a document as far as it is on this machine: its file, or
// the copy of it that a server has kept in the state folder.
func Offline(state string, conf *config.OpenAPI) ([]byte, error) {
	if conf.Remote() {
		return kept(state, conf)
	}
	return regularfile.Read(string(conf.Document), openapi.MaxDocument)
}
