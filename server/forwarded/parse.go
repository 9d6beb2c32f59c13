package forwarded

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"

	"github.com/sangate/sangate/pki"
)

// maxCarried bounds a carried chain, the leaf included.
const maxCarried = 8

func malformed(format string, args ...any) error {
	return bad(pki.BadCertificate, fmt.Sprintf(format, args...))
}

// parseClientCert reads RFC 9440: the leaf is a byte sequence (RFC 8941, 3.3.5),
// once; the rest of the chain a list of them, over any number of lines.
func parseClientCert(leaf, chain []string) ([]*x509.Certificate, error) {
	if len(leaf) != 1 {
		return nil, malformed("Client-Cert %d times", len(leaf))
	}
	texts := leaf
	if len(chain) > 0 {
		for item := range strings.SplitSeq(strings.Join(chain, ","), ",") {
			if texts = append(texts[:len(texts):len(texts)], item); len(texts) > maxCarried {
				return nil, malformed("more than %d certificates", maxCarried)
			}
		}
	}
	out := make([]*x509.Certificate, len(texts))
	for i, text := range texts {
		der, err := byteSequence(strings.Trim(text, " \t"))
		if err != nil {
			return nil, malformed("certificate %d: %s", i+1, err)
		}
		if out[i], err = x509.ParseCertificate(der); err != nil {
			return nil, malformed("certificate %d: %s", i+1, err)
		}
	}
	return out, nil
}

// byteSequence reads :base64:, without parameters.
func byteSequence(text string) ([]byte, error) {
	inner, open := strings.CutPrefix(text, ":")
	inner, closed := strings.CutSuffix(inner, ":")
	if !open || !closed || len(text) < 2 || strings.ContainsAny(inner, "\r\n") {
		return nil, fmt.Errorf("no byte sequence (RFC 8941, 3.3.5)")
	}
	return base64.StdEncoding.Strict().DecodeString(inner)
}

// parseXFCC reads the one element of Envoy's header: Cert, and Chain where the
// proxy gives it, both PEM as in a URL. What else stands in it is not believed.
func parseXFCC(values []string) ([]*x509.Certificate, error) {
	if len(values) != 1 {
		return nil, malformed("X-Forwarded-Client-Cert %d times", len(values))
	}
	pairs, err := elements(values[0])
	if err != nil {
		return nil, err
	}
	leaf, err := urlPEM(pairs["cert"])
	if err != nil || len(leaf) != 1 {
		return nil, malformed("Cert is no certificate: %v", err)
	}
	if _, given := pairs["chain"]; !given {
		return leaf, nil
	}
	chain, err := urlPEM(pairs["chain"])
	if err != nil || len(chain) == 0 || !chain[0].Equal(leaf[0]) {
		return nil, malformed("Chain does not begin with Cert: %v", err)
	}
	return chain, nil
}

// elements reads key=value;… of one element. Values may be quoted.
func elements(text string) (map[string]string, error) {
	pairs := make(map[string]string)
	for text != "" {
		key, rest, found := strings.Cut(text, "=")
		key = strings.ToLower(strings.Trim(key, " \t"))
		if !found || key == "" || strings.ContainsAny(key, `",;`) {
			return nil, malformed("no key=value in X-Forwarded-Client-Cert")
		}
		value, after, err := valueOf(rest)
		if err != nil {
			return nil, err
		}
		if _, twice := pairs[key]; twice && key != "uri" && key != "dns" {
			return nil, malformed("%.20q twice in X-Forwarded-Client-Cert", key)
		}
		pairs[key], text = value, after
	}
	return pairs, nil
}

// valueOf reads one value and what follows its semicolon. A comma begins the
// element of another proxy.
func valueOf(text string) (value, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text, `;,"`)
		switch {
		case end < 0:
			return text, "", nil
		case text[end] == ';':
			return text[:end], text[end+1:], nil
		}
		return "", "", malformed("several elements in X-Forwarded-Client-Cert: have the proxy set it anew (SANITIZE_SET)")
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case c != '"':
			b.WriteByte(c)
		case i+1 == len(text):
			return b.String(), "", nil
		case text[i+1] == ';':
			return b.String(), text[i+2:], nil
		default:
			return "", "", malformed("several elements in X-Forwarded-Client-Cert: have the proxy set it anew (SANITIZE_SET)")
		}
	}
	return "", "", malformed("an open quote in X-Forwarded-Client-Cert")
}

// urlPEM reads certificates, and nothing between or behind them.
func urlPEM(text string) (out []*x509.Certificate, err error) {
	plain, err := url.PathUnescape(text)
	if err != nil {
		return nil, err
	}
	rest := bytes.TrimSpace([]byte(plain))
	for len(rest) > 0 {
		if !bytes.HasPrefix(rest, []byte("-----BEGIN CERTIFICATE-----")) || len(out) == maxCarried {
			return nil, fmt.Errorf("more than %d certificates, or something else among them", maxCarried)
		}
		block, after := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			return nil, fmt.Errorf("no PEM")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out, rest = append(out, c), bytes.TrimSpace(after)
	}
	return out, nil
}
