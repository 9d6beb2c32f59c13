package http1

import (
	"bytes"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// parse reads the head of a request that is plain into r, and returns its length. It
// takes what net/http surely reads in the same way: a head that is whole, of GET or
// POST, with a path of plain characters and each line by the letter of RFC 9112. What
// says more about the connection than whether it is kept, or more about a body than its
// length, is not taken. Values are
// put into room while there is any.
func parse(b []byte, r *http.Request, u *url.URL, room []string) (length int, ok bool) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, false
	}
	head := string(b[:end])
	line, head, _ := strings.Cut(head, "\r\n")
	method, line, _ := strings.Cut(line, " ")
	target, proto, _ := strings.Cut(line, " ")
	if method != http.MethodPost && method != http.MethodGet || proto != "HTTP/1.1" || !plainPath(target) {
		return 0, false
	}
	r.Method, r.RequestURI, r.Proto, r.ProtoMajor, r.ProtoMinor = method, target, proto, 1, 1
	u.Path, r.URL = target, u
	r.Header = make(http.Header, len(room))
	for more := true; more; {
		line, head, more = strings.Cut(head, "\r\n")
		name, value, found := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !found || !plainValue(value) {
			return 0, false
		}
		if name, found = canonical(name); !found {
			return 0, false
		}
		switch name {
		case "Host":
			if r.Host != "" || value == "" || !httpguts.ValidHostHeader(value) {
				return 0, false
			}
			r.Host = value
			continue
		case "Connection":
			r.Close = strings.EqualFold(value, "close")
			if r.Header[name] != nil || !r.Close && !strings.EqualFold(value, "keep-alive") {
				return 0, false
			}
		case "Expect", "Http2-Settings", "Pragma", "Trailer", "Transfer-Encoding", "Upgrade":
			return 0, false
		}
		if before := r.Header[name]; before != nil {
			r.Header[name] = append(before, value)
			continue
		}
		if len(room) == 0 {
			r.Header[name] = []string{value}
			continue
		}
		room[0] = value
		r.Header[name], room = room[:1:1], room[1:]
	}
	return end + len("\r\n\r\n"), r.Host != "" && lengthOf(r)
}

// canonical returns the canonical form of a header's name, if it is one.
func canonical(name string) (string, bool) {
	first := true // of a part
	for _, c := range []byte(name) {
		switch {
		case 'A' <= c && c <= 'Z':
			if !first {
				return textproto.CanonicalMIMEHeaderKey(name), httpguts.ValidHeaderFieldName(name)
			}
		case 'a' <= c && c <= 'z':
			if first {
				return textproto.CanonicalMIMEHeaderKey(name), httpguts.ValidHeaderFieldName(name)
			}
		case '0' <= c && c <= '9' || c == '-' || c == '_':
		default:
			return textproto.CanonicalMIMEHeaderKey(name), httpguts.ValidHeaderFieldName(name)
		}
		first = c == '-'
	}
	return name, name != ""
}

// lengthOf sets the length of the body, which a POST has to say and a GET must not.
func lengthOf(r *http.Request) bool {
	said := r.Header["Content-Length"]
	if r.Method == http.MethodGet {
		return len(said) == 0
	}
	if len(said) != 1 || said[0] == "" || len(said[0]) > 15 {
		return false
	}
	for _, digit := range []byte(said[0]) {
		if digit < '0' || digit > '9' {
			return false
		}
		r.ContentLength = r.ContentLength*10 + int64(digit-'0')
	}
	return true
}

// plainPath takes paths that are the same escaped or not.
func plainPath(p string) bool {
	if !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") {
		return false
	}
	for _, c := range []byte(p) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '/' || c == '_' || c == '-' || c == '.' || c == '~') {
			return false
		}
	}
	return true
}

// plainValue takes ASCII that can be printed, and tabs.
func plainValue(v string) bool {
	for _, c := range []byte(v) {
		if (c < ' ' && c != '\t') || c > '~' {
			return false
		}
	}
	return true
}
