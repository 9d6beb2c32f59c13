package upstream

import (
	"context"
	"fmt"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// maxPages bounds the pages of all lists in one look: there may be nothing on a page but where the next one is.
const maxPages = 1000

type pagesKey struct{} // *int, of a look

// countPages refuses to ask for more pages than maxPages.
func countPages(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, r sdk.Request) (sdk.Result, error) {
		if pages, ok := ctx.Value(pagesKey{}).(*int); ok && strings.HasSuffix(method, "/list") {
			if *pages++; *pages > maxPages {
				return nil, fmt.Errorf("its lists have more than %d pages", maxPages)
			}
		}
		return next(ctx, method, r)
	}
}
