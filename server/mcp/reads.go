package mcp

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/server/tool"
)

// anyURI is the URI of the one resource that the SDK's server of reads has.
const anyURI = "sangate:any"

type uriKey struct{}

// newReads makes the SDK server that reads the resources of a view. The SDK would compare
// the URI with all templates, each made ready anew, and take the first by its text,
// whoever has had it for longest. So this one has one resource, and the view says which is
// meant.
func (h *Handler) newReads(view *tool.View) *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "sangate", Version: h.opts.Version}, serverOptions())
	s.AddReceivingMiddleware(h.contained, func(next sdk.MethodHandler) sdk.MethodHandler {
		return func(ctx context.Context, method string, req sdk.Request) (sdk.Result, error) {
			if read, ok := req.(*sdk.ReadResourceRequest); ok && read.Params != nil {
				ctx = context.WithValue(ctx, uriKey{}, read.Params.URI)
				read.Params.URI = anyURI
			}
			return next(ctx, method, req)
		}
	})
	read := func(ctx context.Context, req *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		uri, _ := ctx.Value(uriKey{}).(string)
		r := view.Resource(uri)
		if r == nil {
			return nil, sdk.ResourceNotFoundError(uri)
		}
		return h.read(ctx, r, uri, req)
	}
	s.AddResource(&sdk.Resource{Name: "any", URI: anyURI}, read)
	return s
}

// read reads a resource, or the one of its template that has the URI.
func (h *Handler) read(ctx context.Context, r *tool.Resource, uri string,
	req *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
	call, err := h.callOf(ctx, methodRead, r.Name, req.ClientCapabilities(), req.Params.InputResponses,
		req.Params.RequestState)
	if err != nil {
		return nil, err
	}
	args, err := json.Marshal(map[string]string{"uri": uri})
	if err != nil {
		return nil, err
	}
	out := new(sdk.ReadResourceResult)
	res, err := h.other(ctx, Use{Read, r.Name, r.Upstream, args, sdk.ResourceNotFoundError(uri)}, out,
		func(ctx context.Context) (*tool.Result, error) { return r.Call(ctx, uri, call) })
	if err == nil && len(res.Asks) > 0 {
		out.InputRequests, out.RequestState, err = h.asked(ctx, methodRead, r.Name, res)
	}
	var described struct {
		MIMEType string `json:"mimeType"`
	}
	_ = json.Unmarshal(r.Described, &described) // it was checked
	// The SDK panics on null.
	out.Contents = slices.DeleteFunc(out.Contents, func(c *sdk.ResourceContents) bool { return c == nil })
	for _, c := range out.Contents { // as the SDK fills in
		c.URI = cmp.Or(c.URI, uri)
		c.MIMEType = cmp.Or(c.MIMEType, described.MIMEType)
	}
	return out, err
}
