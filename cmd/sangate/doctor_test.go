package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/doctor"
)

// Each line of a terminal has the colour of its step; what a server says about
// itself stays on its line and writes no colours of its own.
func TestDoctorColours(t *testing.T) {
	r := &doctor.Report{Finding: "dns", Means: "It means.", Likely: "Causes.", Do: "Do it.", Steps: []doctor.Step{
		{Name: "address", Outcome: doctor.OK, Detail: []string{"one", "two\n\x1b[32mthree"}},
		{Name: "tls", Outcome: doctor.Wrong},
		{Name: "clock", Outcome: doctor.NotReached},
	}}
	for _, tt := range []struct {
		name string
		p    palette
		want string
	}{
		{"terminal", palette{good: "<g>", bad: "<b>", dim: "<d>", off: "<o>"}, `<g>address  ok           one<o>
<g>                      two\n\x1b[32mthree<o>
<b>tls      wrong<o>
<d>clock    not reached<o>

<b>dns<o>
It means.
Likely: Causes.
Do it.
`},
		{"file", palette{}, `address  ok           one
                      two\n\x1b[32mthree
tls      wrong
clock    not reached

dns
It means.
Likely: Causes.
Do it.
`},
	} {
		var out bytes.Buffer
		if err := printExamined(&out, r, tt.p); err != nil || out.String() != tt.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", tt.name, err, out.String(), tt.want)
		}
	}
	if colours(&strings.Builder{}) != (palette{}) {
		t.Error("a buffer is no terminal")
	}
	if f, err := os.CreateTemp(t.TempDir(), ""); err != nil || colours(f) != (palette{}) {
		t.Error("a file is no terminal")
	}
}

// A token file that an editor has marked as UTF-8 holds the token all the same.
func TestTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("\ufeffsgk_x\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if token, err := explainToken(doctorCommand(), "", file); err != nil || *token != "sgk_x" {
		t.Errorf("%q, %v", *token, err)
	}
}
