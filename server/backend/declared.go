package backend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sangate/sangate/pki/regularfile"
	"github.com/sangate/sangate/pki/stepca/atomicfile"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/egress"
	"github.com/sangate/sangate/server/httptool"
	"github.com/sangate/sangate/server/openapi"
)

// declare makes the tools that the configuration declares.
func (p *Plan) declare() error {
	defs := slices.Clone(p.conf.Tools.HTTP)
	for i := range p.conf.Tools.OpenAPI {
		imported, err := p.imported(&p.conf.Tools.OpenAPI[i])
		if err != nil {
			return fmt.Errorf("tools.openapi %s: %w", p.conf.Tools.OpenAPI[i].Name, err)
		}
		defs = append(defs, imported...)
	}
	var err error
	p.declared, err = httptool.Tools(defs, httptool.Options{Client: p.client(egress.Target{}), Resolver: p.resolver, Authorizer: p.authorizer, Scrubber: p.scrubber()})
	return err
}

// scrubber returns one that knows the secrets of the configuration and of proxies.
func (p *Plan) scrubber() *credential.Scrubber {
	return credential.NewScrubber(slices.Concat(p.conf.Secrets, p.guard.Secrets())...)
}

// imported makes definitions of a document. One that was fetched is kept in the
// state folder: it stands in where it cannot be fetched, or is no longer good.
func (p *Plan) imported(o *config.OpenAPI) ([]httptool.Definition, error) {
	if !o.Remote() {
		defs, skipped, err := openapi.Import([]byte(o.Text), o.Options())
		p.tell(o, skipped)
		return defs, err
	}
	copied := filepath.Join(string(p.conf.State), "openapi-"+o.Name)
	text, err := p.fetch(string(o.Document))
	if err == nil {
		var defs []httptool.Definition
		var skipped []openapi.Skipped
		if defs, skipped, err = openapi.Import(text, o.Options()); err == nil {
			p.tell(o, skipped)
			return defs, atomicfile.Write(copied, text, 0o600)
		}
	}
	kept, readErr := regularfile.Read(copied, openapi.MaxDocument)
	if readErr != nil {
		return nil, err
	}
	defs, _, keptErr := openapi.Import(kept, o.Options())
	if keptErr != nil {
		return nil, errors.Join(err, keptErr)
	}
	p.backend.opts.Logger.Error("OpenAPI document not fetched, the one that was read last is used", "name", o.Name, "document", string(o.Document), "err", err)
	return defs, nil
}

func (p *Plan) tell(o *config.OpenAPI, skipped []openapi.Skipped) {
	for _, s := range skipped {
		p.backend.opts.Logger.Warn("operation of an OpenAPI document left out", "name", o.Name, "operation", s.Operation, "why", s.Why)
	}
}

func (p *Plan) fetch(address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	shown, _, _ := strings.Cut(address, "?") // a query may hold a secret
	client := p.guard.Client(egress.Target{})
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = fmt.Errorf("%s: %w", shown, failed.Err)
	}
	if err != nil {
		return nil, p.scrubber().Error(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, p.scrubber().Error(fmt.Errorf("%s answered %d", shown, res.StatusCode))
	}
	return io.ReadAll(io.LimitReader(res.Body, openapi.MaxDocument+1))
}
