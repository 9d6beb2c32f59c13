package egress_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/egress"
)

// FuzzCheckURL checks that a URL of a document or an issuer is absolute, over TLS or
// to this machine, carries no user info, and that an error about one is a short line
// without its query.
//
// Holds: document/url-leads-outside
func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"https://a.example/x", "http://127.0.0.1:80/", "http://localhost", "http://[::1]/", "http://127.0.0.1@evil.example/", "https://u:p@a.example/", "HTTP://a.example",
		"file:///etc/passwd", "https:a", "https:///x", "//a.example", "https://a.example\r\nX: y", "http://localhost.evil.example/", "https://a.example/?token=s3cret#x", "http://[::ffff:127.0.0.1]/",
		"http://0x7f.1/", "https://\u2100.example/", "http://127.0.0.1%2eevil.example/", "https://[fe80::1%25eth0]/", "gopher://a/?password=s3cret"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		err := egress.CheckURL(text)
		u, parseErr := url.Parse(text)
		if err != nil {
			if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\n\r\x1b\x00") {
				t.Errorf("error is not one short line: %q", err)
			}
			if parseErr == nil && u.Host != "" && len(u.RawQuery) > 8 && !strings.Contains(u.Host+u.Path, u.RawQuery) && strings.Contains(err.Error(), u.RawQuery) {
				t.Errorf("error repeats the query: %q", err)
			}
			return
		}
		if parseErr != nil || u.Hostname() == "" || u.User != nil || u.Opaque != "" {
			t.Fatalf("took %q: %v, %v", text, u, parseErr)
		}
		addr, addrErr := netip.ParseAddr(u.Hostname())
		local := u.Hostname() == "localhost" || addrErr == nil && addr.Unmap().IsLoopback()
		if u.Scheme != "https" && !(u.Scheme == "http" && local) {
			t.Errorf("took %q", text)
		}
	})
}

// FuzzCheckAddress checks that no spelling of an address inside is public: an IPv4
// address in an IPv6 one is as refused as itself.
//
// Holds: upstream/inside-address
func FuzzCheckAddress(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::10.0.0.1", "2002:0a00:0001::", "169.254.169.254", "fe80::1%eth0", "8.8.8.8", "2606:4700::1", "100.64.0.1",
		"0.0.0.0", "::", "224.0.0.1", "fd00::1", "255.255.255.255"} {
		addr := netip.MustParseAddr(s)
		f.Add(addr.AsSlice(), addr.Zone())
	}
	guard := egress.New(egress.Options{})
	f.Fuzz(func(t *testing.T, raw []byte, zone string) {
		addr, ok := netip.AddrFromSlice(raw)
		if !ok || guard.Check(addr) != nil {
			return
		}
		if inner := addr.Unmap(); !inner.IsGlobalUnicast() || inner.IsPrivate() || inner.IsLoopback() || inner.IsLinkLocalUnicast() {
			t.Fatalf("%s is public", addr)
		}
		if addr.Unmap().Is4() {
			four := addr.Unmap().As4()
			if four[0] == 0 || four[0] == 127 || four[0] >= 224 {
				t.Errorf("%s is public", addr)
			}
			for _, spelled := range []netip.Addr{netip.AddrFrom16(addr.As16()), netip.AddrFrom4(four)} {
				if err := guard.Check(spelled); err != nil {
					t.Errorf("%s is public, %s is not", addr, spelled)
				}
			}
			return
		}
		if err := guard.Check(addr.WithZone(zone)); err != nil {
			t.Errorf("%s is public, with zone %q it is not", addr, zone)
		}
	})
}
