package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// lines makes a page the data of one event. A carriage return ends a line of events
// as well as \n does; html/template lets it pass.
var lines = strings.NewReplacer("\r", "&#13;", "\n", "\ndata: ")

// live follows one view: it is rendered each second, and sent where it has changed
// (server-sent events, each the whole of the view).
func (c *Console) live(w http.ResponseWriter, r *http.Request) {
	var v *view
	for i := range views {
		if views[i].Path == r.URL.Query().Get("view") {
			v = &views[i]
		}
	}
	if v == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return // it would hear nothing, and hold a place
	}
	select {
	case c.open <- struct{}{}:
		defer func() { <-c.open }()
	default:
		http.Error(w, "Too many views are followed already.", http.StatusServiceUnavailable)
		return
	}
	control := http.NewResponseController(w)
	query := filter(r)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var last []byte
	for quiet := 0; ; quiet++ {
		now, err := c.looks.of(lookKey{v.Path, query}, time.Now(), func() ([]byte, error) {
			var b bytes.Buffer
			var err error
			wait := context.WithoutCancel(r.Context()) // others may follow the same view
			late := c.source.Turn(wait, func() {
				err = c.pages[v.Path].ExecuteTemplate(&b, "view", map[string]any{"Data": v.data(c.source, query), "Query": query})
			})
			return b.Bytes(), errors.Join(late, err)
		})
		if err != nil {
			return
		}
		_ = control.SetWriteDeadline(time.Now().Add(10 * time.Second))
		switch {
		case !bytes.Equal(now, last):
			last, quiet = now, 0
			_, err = fmt.Fprintf(w, "data: %s\n\n", lines.Replace(string(now)))
		case quiet%15 == 14:
			_, err = fmt.Fprint(w, "event: alive\ndata: .\n\n") // a comment is not seen by scripts
		}
		if err != nil || control.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}
