package config

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/sangate/sangate/pki/regularfile"
	"github.com/sangate/sangate/server/egress"
)

// Egress says how the gate goes out: to issuers, tools, upstreams.
type Egress struct {
	Allow   []string `yaml:"allow"`   // prefixes or addresses, beside public ones
	CAFile  Path     `yaml:"caFile"`  // that servers are verified by; the system's CAs where empty
	Proxy   string   `yaml:"proxy"`   // URL of an HTTP proxy, or none; HTTPS_PROXY and its kin where empty
	NoProxy []string `yaml:"noProxy"` // hosts, domains and ranges that are dialled past it

	CA string `yaml:"-"` // what stands in CAFile
}

// noProxy, as the value of proxy, has the environment not looked at.
const noProxy = "none"

// Guard returns the way out; the configuration was checked.
func (e *Egress) Guard() *egress.Guard {
	opts := egress.Options{Allow: e.prefixes(), Roots: e.roots()}
	switch e.Proxy {
	case noProxy:
	case "":
		opts.Proxy = httpproxy.FromEnvironment()
	default:
		opts.Proxy = &httpproxy.Config{HTTPProxy: e.Proxy, HTTPSProxy: e.Proxy, NoProxy: strings.Join(e.NoProxy, ",")}
	}
	return egress.New(opts)
}

func (e *Egress) roots() *x509.CertPool {
	if e.CA == "" {
		return nil
	}
	pool, _ := egress.Roots([]byte(e.CA)) // was checked
	return pool
}

func (e *Egress) prefixes() []netip.Prefix {
	out := make([]netip.Prefix, 0, len(e.Allow))
	for _, text := range e.Allow {
		if p, err := prefix(text); err == nil {
			out = append(out, p)
		}
	}
	return out
}

func prefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.Prefix(addr.BitLen())
	}
	return netip.ParsePrefix(text)
}

func (d *decoder) checkEgress(e *Egress) {
	for i, text := range e.Allow {
		if p, err := prefix(text); err != nil || p.Masked() != p {
			d.failAt(fmt.Sprintf("egress.allow[%d]", i), "egress.allow %q: write a range such as 10.0.0.0/8, or one address", text)
		}
	}
	e.CA = d.readCA("egress.caFile", e.CAFile)
	if e.Proxy != "" && e.Proxy != noProxy {
		if u, err := url.Parse(e.Proxy); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5") {
			d.failAt("egress.proxy", "egress.proxy: write the URL of a proxy, such as http://proxy.internal:3128, or none") // it may hold a password
		}
	}
	if len(e.NoProxy) > 0 && (e.Proxy == "" || e.Proxy == noProxy) {
		d.failAt("egress.noProxy", "egress.noProxy goes with egress.proxy")
	}
}

const maxCA = 16 << 20 // bytes of a CA file

// readCA returns what stands in a file of CAs, or reports at a path what is wrong
// with it.
func (d *decoder) readCA(path string, file Path) string {
	if file == "" {
		return ""
	}
	data, err := regularfile.Read(string(file), maxCA)
	if err == nil {
		if _, err = egress.Roots(data); err != nil {
			err = fmt.Errorf("%s: %w", string(file), err)
		}
	}
	if err != nil {
		d.failAt(path, "%s: %s", path[strings.LastIndexByte(path, '.')+1:], plainError(err))
	}
	return string(data)
}
