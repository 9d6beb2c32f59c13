package revocation_test

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/revocation"
)

// exactly is the simplest compiler of rules.
func exactly(rule string) (func(pki.SAN) bool, error) {
	kind, _, ok := strings.Cut(rule, ":")
	if !ok || kind != "dns" {
		return nil, errors.New("not a rule")
	}
	return func(san pki.SAN) bool { return san.String() == rule }, nil
}

func denylist(t testing.TB, lines ...string) *revocation.Denylist {
	t.Helper()
	d, err := revocation.ParseDenylist(strings.NewReader(strings.Join(lines, "\n")), "deny", exactly)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func colons(hex string) string {
	var parts []string
	for i := 0; i < len(hex); i += 2 {
		parts = append(parts, hex[i:i+2])
	}
	return strings.Join(parts, ":")
}

func TestDenylist(t *testing.T) {
	root := newIssuer(t, "root", nil, nil) // number 1
	middle := newIssuer(t, "middle", root, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0x0abc) })
	leaf := middle.leaf(t, big.NewInt(0x01f2))
	chain := middle.chain(leaf)
	names := []pki.SAN{{Type: pki.DNS, Value: "a.example"}}
	sum := fmt.Sprintf("%x", sha256.Sum256(leaf.Raw))
	spki := func(c *x509.Certificate) string { return fmt.Sprintf("%x", sha256.Sum256(c.RawSubjectPublicKeyInfo)) }
	tests := []struct {
		name, line string
		depth      int // -1: not denied
	}{
		{"certificate", "sha256:" + sum, 0},
		{"certificate, upper case", "sha256:" + strings.ToUpper(sum), 0},
		{"certificate, colons", "sha256:" + colons(sum), 0},
		{"another certificate", "sha256:" + strings.Repeat("0", 64), -1},
		{"key", "spki:" + spki(leaf), 0},
		{"a certificate's sum as a key's", "spki:" + sum, -1},
		{"key of an intermediate", "spki:" + spki(middle.cert), 1},
		{"key of the root", "spki:" + spki(root.cert), 2},
		{"serial", "serial:1f2", 0},
		{"serial, leading zeros", "serial:" + strings.Repeat("0", 60) + "1F2", 0},
		{"serial, 0x", "serial:0x01f2", 0},
		{"serial, colons", "serial:01:F2", 0},
		{"serial of an intermediate", "serial:abc", 1},
		{"serial of the root", "serial:1", -1},
		{"another serial", "serial:1f2f2", -1},
		{"serial of this issuer", fmt.Sprintf("serial:1f2@%x", middle.cert.SubjectKeyId), 0},
		{"serial of this issuer, upper case", fmt.Sprintf("serial:1F2@%s", colons(fmt.Sprintf("%X", middle.cert.SubjectKeyId))), 0},
		{"serial of another issuer", fmt.Sprintf("serial:1f2@%x", root.cert.SubjectKeyId), -1},
		{"name", "san:dns:a.example", 0},
		{"another name", "san:dns:b.example", -1},
		{"comment behind, blanks, CR", " \tserial:1f2 # gone\r", 0},
		{"comment", "#serial:1f2", -1},
		{"blank", "  \t", -1},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			set := revocation.NewSet(nil, []*revocation.Denylist{denylist(t, "\ufeff# first", tc.line)}, revocation.SetOptions{Mode: revocation.Soft})
			r := set.CheckChain(chain, names, time.Now())
			if tc.depth < 0 {
				if r.Status != revocation.Good || r.Detail() != "" {
					t.Errorf("%v %s", r.Status, r.Detail())
				}
				return
			}
			if r.Status != revocation.Revoked || r.Depth != tc.depth || !strings.HasPrefix(r.Detail(), "denied by deny:2") {
				t.Errorf("%v at %d: %s", r.Status, r.Depth, r.Detail())
			}
		})
	}
}

func TestParseDenylistReportsEveryBadLine(t *testing.T) {
	text := strings.Join([]string{
		"serial:12",
		"nonsense",
		"  md5:00",
		"sha256:12",
		"sha256:" + strings.Repeat("a", 63) + "g",
		"serial:",
		"serial:" + strings.Repeat("f", 42),
		"serial:12@",
		"serial:12@xy",
		"serial:1:2",
		"serial:ab:c",
		"serial:314159265358979323846264338327950288",
		"serial:0x314159265358979323846264338327950288",
		"san:nope",
		"spki:\x1b[31m",
	}, "\n")
	_, err := revocation.ParseDenylist(strings.NewReader(text), "f", exactly)
	if err == nil {
		t.Fatal("taken")
	}
	got := strings.Split(err.Error(), "\n")
	want := []string{"f:2:1: ", "f:3:3: ", "f:4:8: ", "f:5:71: ", "f:6:8: ", "f:7:8: ", "f:8:11: ", "f:9:11: ",
		"f:10:9: ", "f:11:12: ", "f:12:8: looks like a decimal", "f:14:5: not a rule", "f:15:6: "}
	if len(got) != len(want) {
		t.Fatalf("%d errors, not %d:\n%v", len(got), len(want), err)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) || strings.Contains(got[i], "\x1b") {
			t.Errorf("%q, not %q", got[i], want[i])
		}
	}
	if bad, ok := errors.AsType[*revocation.LineError](err); !ok || bad.Line != 2 {
		t.Errorf("%#v", bad)
	}
}

func TestParseDenylistBounds(t *testing.T) {
	for name, tc := range map[string]struct{ text, words string }{
		"lines":      {strings.Repeat("\n", revocation.MaxDenyLines+1), "more than 1000000 lines"},
		"long line":  {"serial:1\n" + strings.Repeat("#", 1<<20), "f:2:1: longer"},
		"bad lines":  {strings.Repeat("x\n", 1000), "900 more bad lines"},
		"SAN rules":  {strings.Repeat("san:dns:a\n", 1001), "f:1001:5: no more than 1000"},
		"last is in": {strings.Repeat("\n", revocation.MaxDenyLines-1) + "x", "f:1000000:1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := revocation.ParseDenylist(strings.NewReader(tc.text), "f", exactly)
			if err == nil || !strings.Contains(err.Error(), tc.words) {
				t.Errorf("%.200v", err)
			}
		})
	}
}

func FuzzParseDenylist(f *testing.F) {
	f.Add("serial:1f2@ab\nsha256:00\nsan:dns:a # x")
	f.Add("\ufeffspki:" + strings.Repeat("Ab", 32) + "\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := revocation.ParseDenylist(strings.NewReader(text), "f", exactly)
		switch {
		case (d == nil) != (err != nil):
			t.Fatalf("list %v, err %v", d, err)
		case err == nil && d.Len() > strings.Count(text, "\n")+1:
			t.Fatalf("%d entries of %q", d.Len(), text)
		}
	})
}
