package upstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/egress"
)

// TestChangingOfferWritesFewLines checks that an upstream which offers other tools at each look, none of them valid, does
// not fill the log.
//
// Holds: upstream/offer-log
func TestChangingOfferWritesFewLines(t *testing.T) {
	var log bytes.Buffer
	s := New(&config.MCPServer{Name: "u"}, Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Guard: &egress.Guard{}})
	for look := range 50 {
		list := &listing{}
		for i := range maxLeft {
			list.tools = append(list.tools, json.RawMessage(fmt.Sprintf(`{"name":"not valid %d %d"}`, look, i)))
		}
		if o := s.vet(t.Context(), list, ""); o.missing != maxLeft {
			t.Fatalf("%d left out, want %d", o.missing, maxLeft)
		}
	}
	if n := bytes.Count(log.Bytes(), []byte("\n")); n < maxLeft || n > offerLines+maxLeft {
		t.Errorf("%d lines", n)
	}
}
