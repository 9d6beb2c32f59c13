package http1_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// answers are what handlers do, each to the same request.
var answers = map[string]func(w http.ResponseWriter, r *http.Request){
	"nothing":             func(http.ResponseWriter, *http.Request) {},
	"a status":            func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) },
	"no content":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
	"an unknown status":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(499) },
	"a body":              func(w http.ResponseWriter, _ *http.Request) { write(w, "<html>") },
	"a body of some type": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "a/b"); write(w, "a") },
	"a body in pieces":    func(w http.ResponseWriter, _ *http.Request) { write(w, "a"); write(w, ""); write(w, "b") },
	"a page in pieces":    func(w http.ResponseWriter, _ *http.Request) { write(w, "<"); write(w, "html>") },
	"two statuses":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); w.WriteHeader(200); write(w, "a") },
	"a header too late": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
		w.Header().Set("A", "b")
		write(w, "a")
	},
	"a body where none goes": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		if _, err := io.WriteString(w, "a"); !errors.Is(err, http.ErrBodyNotAllowed) {
			panic(err)
		}
	},
	"not modified": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "a/b")
		w.Header().Set("Content-Length", "2")
		w.WriteHeader(http.StatusNotModified)
	},
	"a body in some encoding": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		write(w, "a")
	},
	"nothing where none goes": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		if n, err := w.Write(nil); n != 0 || err != nil {
			panic(err)
		}
	},
	"much": func(w http.ResponseWriter, _ *http.Request) { write(w, strings.Repeat("a", 100_000)) },
	"much, slowly": func(w http.ResponseWriter, _ *http.Request) {
		for range 1000 {
			write(w, strings.Repeat("a", 100))
		}
	},
	"a flush": func(w http.ResponseWriter, _ *http.Request) {
		write(w, "a")
		w.(http.Flusher).Flush()
		write(w, "b")
		_ = http.NewResponseController(w).Flush()
	},
	"a flush of nothing": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
	},
	"a length": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "2"); write(w, "ab") },
	"a length, and much": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "9000")
		write(w, strings.Repeat("a", 9000))
	},
	"a length, and more in pieces": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "183000")
		for _, size := range []int{0, 1, 2047, 1, 2048, 2049, 40_000, 1, 100_000, 36_853} {
			write(w, strings.Repeat("a", size))
		}
	},
	"more in pieces": func(w http.ResponseWriter, _ *http.Request) {
		for _, size := range []int{0, 1, 2047, 1, 2048, 2049, 40_000, 1, 100_000, 36_853} {
			write(w, strings.Repeat("a", size))
		}
	},
	"a length and flush": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2")
		write(w, "a")
		w.(http.Flusher).Flush()
		write(w, "b")
	},
	"less than it says": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "3"); write(w, "ab") },
	"more than it says": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1")
		if _, err := io.WriteString(w, "ab"); !errors.Is(err, http.ErrContentLength) {
			panic(err)
		}
		write(w, "a")
	},
	"a close": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close"); write(w, "a") },
	"headers": func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["A"] = []string{"1", "2"}
		h["b"] = []string{" x "}
		h.Set("Date", "never")
	},
	"headers with breaks": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("A", "b\r\nC: d\n\ne")
		w.Header()["F: g\r\nH"] = []string{"i"}
	},
	"a panic":  func(http.ResponseWriter, *http.Request) { panic("no") },
	"an abort": func(w http.ResponseWriter, _ *http.Request) { write(w, "a"); panic(http.ErrAbortHandler) },
	"the body": func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		write(w, fmt.Sprint(len(data), err, bytes.Count(data, []byte("x"))))
	},
	"half the body": func(w http.ResponseWriter, r *http.Request) {
		n, err := io.CopyN(io.Discard, r.Body, r.ContentLength/2)
		write(w, fmt.Sprint(n, err))
	},
	"the body twice": func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		n, err := r.Body.Read(make([]byte, 1))
		write(w, fmt.Sprint(n, err))
	},
	"the body, once it has answered": func(w http.ResponseWriter, r *http.Request) {
		write(w, "a")
		data, err := io.ReadAll(r.Body)
		write(w, fmt.Sprint(len(data), err))
	},
	"the body, once it has sent": func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		data, err := io.ReadAll(r.Body)
		write(w, fmt.Sprint(len(data), err))
	},
	"the body, once it has sent a close": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.(http.Flusher).Flush()
		data, err := io.ReadAll(r.Body)
		write(w, fmt.Sprint(len(data), err))
	},
	"the body, twice, once it has sent": func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.(http.Flusher).Flush()
		data, err := io.ReadAll(r.Body)
		write(w, fmt.Sprint(len(data), err))
	},
	"the body, closed": func(w http.ResponseWriter, r *http.Request) {
		_ = r.Body.Close()
		data, err := io.ReadAll(r.Body)
		write(w, fmt.Sprint(len(data), err))
	},
	"the request": func(w http.ResponseWriter, r *http.Request) {
		write(w, fmt.Sprint(r.Method, r.URL, r.Proto, r.Header, r.Host, r.ContentLength, r.Close, r.TransferEncoding, r.RequestURI, r.RemoteAddr, r.Context().Err(), r.TLS != nil && r.TLS.HandshakeComplete))
	},
}
