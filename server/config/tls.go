package config

import (
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/kms"
	"github.com/sangate/sangate/server/egress"
)

func (d *decoder) checkTLS(t *TLS) {
	if _, ok := t.Version(); !ok {
		d.failAt("tls.minVersion", "tls.minVersion %q: use \"1.3\" or \"1.2\"", t.MinVersion)
	}
	for i, name := range t.WeakClientKeys {
		if !slices.Contains(pki.WeakKeys(), pki.WeakKey(name)) {
			d.failAt(fmt.Sprintf("tls.weakClientKeys[%d]", i), "tls.weakClientKeys %q: use rsa1024, p224 or rsaExponent", name)
		}
	}
	for i, name := range t.Curves {
		if _, ok := curves[name]; !ok {
			known := slices.Sorted(maps.Keys(curves))
			d.failAt(fmt.Sprintf("tls.curves[%d]", i), "tls.curves %q: use %s", name, strings.Join(known, ", "))
		}
	}
	switch {
	case t.StepCA != nil:
		d.checkStepCA(t)
	case t.SPIFFE != nil:
		d.checkSPIFFE(t)
	default:
		d.checkFiles(t)
	}
	if r := t.Revocation; r != nil {
		d.checkRevocation(r)
	}
	if len(t.ClientCA) > 0 {
		if _, err := pki.LoadBundle(Strings(t.ClientCA)); err != nil {
			d.failAt("tls.clientCA", "%s", plainError(err))
		}
	}
}

// checkFiles checks a certificate that others keep alive.
func (d *decoder) checkFiles(t *TLS) {
	missing := false
	for path, value := range map[string]Path{"tls.cert": t.Cert, "tls.key": t.Key} {
		if value == "" {
			d.failAt(path, "%s is missing: name a PEM file, or have the gate get its certificate by tls.stepCA", path)
			missing = true
		}
	}
	if len(t.ClientCA) == 0 {
		d.failAt("tls.clientCA", "tls.clientCA is missing: name the PEM file or folder of the CA that signs your clients")
	}
	if missing {
		return
	}
	var err error
	if t.KeyURI() != "" {
		_, err = t.Files().LoadChain() // nothing is asked of the key's holder
	} else {
		_, err = t.Files().LoadCertificate()
	}
	if err != nil {
		d.failAt("tls.cert", "%s", plainError(err))
	}
}

// checkAdminTLS checks what the admin listener shows, and whom it lets in.
func (d *decoder) checkAdminTLS(t *AdminTLS) {
	if t == nil {
		return
	}
	switch {
	case (t.Cert == "") != (t.Key == ""):
		d.failAt("adminTLS", "adminTLS has one of cert and key: name both, or neither to show the gate's own certificate")
	case t.Cert != "":
		if _, err := t.Files().LoadCertificate(); err != nil {
			d.failAt("adminTLS.cert", "%s", plainError(err))
		}
	}
	if len(t.ClientCA) > 0 {
		if _, err := pki.LoadBundle(Strings(t.ClientCA)); err != nil {
			d.failAt("adminTLS.clientCA", "%s", plainError(err))
		}
	}
}

// keyTypes are the kinds of keys that the gate makes.
var keyTypes = []string{"ec-p256", "ec-p384", "ed25519", "rsa-2048", "rsa-3072", "rsa-4096"}

// checkStepCA checks a certificate that the gate keeps alive itself. Nothing is
// asked of the CA.
func (d *decoder) checkStepCA(t *TLS) {
	s := t.StepCA
	bad := func(key, format string, args ...any) {
		d.failAt("tls.stepCA."+key, "tls.stepCA."+key+": "+format, args...)
	}
	d.checkAlone(t, "tls.stepCA")
	if t.SPIFFE != nil {
		d.failAt("tls.spiffe", "tls.spiffe stands beside tls.stepCA: leave one of them out")
	}
	if u, err := url.Parse(s.URL); err != nil || u.Scheme != "https" || u.Host == "" {
		bad("url", "%s is no https URL of a step-ca, such as https://ca.internal:9000", egress.Named(s.URL))
	}
	if sum, err := hex.DecodeString(strings.ReplaceAll(s.Fingerprint, ":", "")); err != nil || len(sum) != 32 {
		bad("fingerprint", "write the SHA-256 of the CA's root, 64 hexadecimal digits; `step certificate fingerprint root_ca.crt` tells it")
	}
	if len(s.SANs) == 0 {
		bad("sans", "name what clients call the gate by, such as gate.internal")
	}
	if s.RenewAt != 0 && (s.RenewAt < 0.1 || s.RenewAt > 0.95) {
		bad("renewAt", "%v: a share of the lifetime between 0.1 and 0.95", s.RenewAt)
	}
	if s.RenewMode != "" && s.RenewMode != "rekey" && s.RenewMode != "renew" {
		bad("renewMode", "%q: use rekey or renew", s.RenewMode)
	}
	if s.KeyType != "" && !slices.Contains(keyTypes, s.KeyType) {
		bad("keyType", "%q: use %s", s.KeyType, strings.Join(keyTypes, ", "))
	}
	if s.KeyURI != "" && !kms.IsURI(s.KeyURI) {
		bad("keyURI", "no URI of a key; it looks like softkms:path=/etc/sangate/server.key or pkcs11:module-path=…;token=…;id=…;object=…")
	}
	d.checkEnrolment(s, bad)
}

// checkAlone wants no files beside another place for the certificate.
func (d *decoder) checkAlone(t *TLS, place string) {
	if t.Cert != "" || t.Key != "" || t.KeyPasswordFile != "" {
		d.failAt("tls.cert", "tls.cert and tls.key stand beside %s: leave one of them out", place)
	}
}

// checkSPIFFE checks what can be checked without the agent.
func (d *decoder) checkSPIFFE(t *TLS) {
	d.checkAlone(t, "tls.spiffe")
	s := t.SPIFFE
	if u, err := url.Parse(s.Socket); s.Socket != "" && (err != nil || (u.Scheme != "unix" && u.Scheme != "tcp") || (u.Scheme == "unix" && (u.Host != "" || u.Path == ""))) {
		d.failAt("tls.spiffe.socket", "tls.spiffe.socket %q: write unix:///run/spire/agent.sock or tcp://127.0.0.1:8081", s.Socket)
	}
	if _, err := spiffeid.FromString(s.ID); s.ID != "" && err != nil {
		d.failAt("tls.spiffe.id", "tls.spiffe.id %q: %s", s.ID, err)
	}
	for i, name := range s.Federated {
		if domain, err := spiffeid.TrustDomainFromString(name); err != nil || domain.Name() != name {
			d.failAt(fmt.Sprintf("tls.spiffe.federated[%d]", i), "tls.spiffe.federated %q: write a trust domain, such as partner.example", name)
		}
	}
}

// checkEnrolment wants exactly one way to a first certificate.
func (d *decoder) checkEnrolment(s *StepCA, bad func(key, format string, args ...any)) {
	ways := 0
	for _, given := range []bool{s.TokenFile != "", s.PasswordFile != "", s.X5C != nil, s.ACME != nil} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		bad("tokenFile", "give one way to enrol: tokenFile, passwordFile, x5c or acme")
		return
	}
	if s.Provisioner == "" && s.TokenFile == "" {
		bad("provisioner", "name the provisioner to enrol by")
	}
	if s.X5C != nil && (s.X5C.Cert == "" || s.X5C.Key == "") {
		bad("x5c", "name cert and key")
	}
	if s.ACME == nil {
		return
	}
	if s.ACME.HTTP == "" && s.ACME.TLS == "" {
		bad("acme", "name an address to answer on: http (http-01) or tls (tls-alpn-01)")
	}
	for key, addr := range map[string]string{"acme.http": s.ACME.HTTP, "acme.tls": s.ACME.TLS} {
		if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
			bad(key, "%q: write host:port", addr)
		}
	}
}

func (d *decoder) checkRevocation(r *Revocation) {
	if r.CRLMode != "" && r.CRLMode != "hard" && r.CRLMode != "soft" {
		d.failAt("tls.revocation.crlMode", "tls.revocation.crlMode %q: use hard or soft", r.CRLMode)
	}
	for i, list := range r.CRL {
		u, err := url.Parse(string(list))
		if strings.Contains(string(list), "://") && (err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "") {
			d.failAt(fmt.Sprintf("tls.revocation.crl[%d]", i), "tls.revocation.crl %s: a file, or an http or https URL", egress.Named(string(list)))
		}
	}
	switch r.OCSP {
	case "", "none", "soft", "hard":
	default:
		d.failAt("tls.revocation.ocsp", "tls.revocation.ocsp %q: use none, soft or hard", r.OCSP)
	}
	if u, err := url.Parse(r.OCSPResponder); r.OCSPResponder != "" && (err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil) {
		d.failAt("tls.revocation.ocspResponder", "tls.revocation.ocspResponder %s: an http or https URL", egress.Named(r.OCSPResponder))
	}
	asks := r.OCSP != "" && r.OCSP != "none"
	if r.OCSPResponder != "" && !asks {
		d.failAt("tls.revocation.ocspResponder", "tls.revocation.ocspResponder is not asked: set ocsp to soft or hard")
	}
	if len(r.CRL) == 0 && r.Denylist == "" && !asks {
		d.failAt("tls.revocation", "tls.revocation names neither crl nor denylist nor ocsp")
	}
}
