package mcp

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/server/answer"
)

// TestPanicOfSDKFailsOneRequest checks that a request in which the SDK panics, in a goroutine of its own, is answered.
//
// Holds: upstream/hostile-offer
func TestPanicOfSDKFailsOneRequest(t *testing.T) {
	var log strings.Builder
	h := New(Options{Repeated: slog.New(slog.NewTextHandler(&log, nil))})
	panics := h.contained(func(context.Context, string, sdk.Request) (sdk.Result, error) { panic("regexp: Compile") })
	res, err := panics(t.Context(), methodRead, nil)
	if res != nil || err == nil || err.Error() != answer.Internal.Message {
		t.Errorf("%v, %v", res, err)
	}
	if !strings.Contains(log.String(), "regexp: Compile") {
		t.Errorf("the panic is not logged: %s", log.String())
	}
	for _, want := range []error{nil, context.Canceled} {
		passes := h.contained(func(context.Context, string, sdk.Request) (sdk.Result, error) {
			return &sdk.ReadResourceResult{}, want
		})
		if res, err := passes(t.Context(), methodRead, nil); res == nil || err != want {
			t.Errorf("%v, %v, want what the SDK returned", res, err)
		}
	}
}
