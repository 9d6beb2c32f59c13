package config

import (
	"strings"
	"testing"
)

// What is wrong with tls.stepCA is told key by key; nothing is asked of the CA.
func TestStepCA(t *testing.T) {
	const good = `{url: "https://127.0.0.1:1", fingerprint: "` + "84a033e84196f73bd593fad7a63e509e57fd982f02084359c4e8c5c864efc27d" + `", provisioner: p, passwordFile: pw, sans: [gate]}`
	tests := []struct{ name, old, new, want string }{
		{"good", "", "", ""},
		{"http", "https://", "http://", "no https URL"},
		{"fingerprint", "84a0", "", "64 hexadecimal"},
		{"no names", "sans: [gate]", "sans: []", "tls.stepCA.sans"},
		{"no way", "passwordFile: pw, ", "", "one way to enrol"},
		{"two ways", "passwordFile: pw", "passwordFile: pw, tokenFile: t", "one way to enrol"},
		{"no provisioner", "provisioner: p, ", "", "name the provisioner"},
		{"x5c", "passwordFile: pw", "x5c: {cert: a}", "name cert and key"},
		{"acme", "passwordFile: pw", "acme: {contact: a@b.c}", "http-01"},
		{"acme address", "passwordFile: pw", "acme: {http: nowhere}", "host:port"},
		{"renewAt", "sans: [gate]", "sans: [gate], renewAt: 1.5", "renewAt"},
		{"renewAt text", "sans: [gate]", "sans: [gate], renewAt: often", "not a number"},
		{"renewMode", "sans: [gate]", "sans: [gate], renewMode: never", "rekey or renew"},
		{"keyType", "sans: [gate]", "sans: [gate], keyType: dsa", "ec-p256"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := "state: s\ntls:\n  stepCA: " + strings.Replace(good, tt.old, tt.new, 1) + "\ntenants: [{id: a, sans: [\"dns:a.b\"]}]\n"
			_, err := parse("f.yaml", []byte(text), nil)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "f.yaml:3:")):
				t.Errorf("got %v, want a problem on line 3 with %q", err, tt.want)
			}
		})
	}
}

// An override of one key leaves its neighbours as the file has them.
func TestOverrideAddsToWhatIsThere(t *testing.T) {
	text := strings.Replace(whole, "tenants:", "  revocation: {denylist: d, crlMode: hard}\ntenants:", 1)
	c, problems := load(t, folder(t), text, "tls.revocation.crlMode=soft")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if r := c.TLS.Revocation; r.CRLMode != "soft" || !strings.HasSuffix(string(r.Denylist), "/d") {
		t.Errorf("%+v", r)
	}
}
