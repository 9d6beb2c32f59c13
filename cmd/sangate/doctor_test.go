package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/doctor"
	"github.com/sangate/sangate/server/steps"
)

// Each line of a terminal has the colour of its step; what a server says about
// itself stays on its line and writes no colours of its own.
func TestDoctorColours(t *testing.T) {
	r := &doctor.Report{Finding: "dns", Means: "It means.", Likely: "Causes.", Do: "Do it.", Steps: []steps.Step{
		{Name: "address", Outcome: steps.OK, Detail: []string{"one", "two\n\x1b[32mthree"}},
		{Name: "tls", Outcome: steps.Wrong},
		{Name: "clock", Outcome: steps.NotReached},
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

// Who interrupts it is told so, in words.
func TestDoctorInterrupted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, pkitest.NewCA(t, "ca").PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var out, errs bytes.Buffer
	code := run(ctx, []string{"doctor", "https://127.0.0.1:1", "--ca", file}, nil, &out, &errs)
	if code != exitFailed || !strings.Contains(errs.String(), "interrupted") || out.Len() > 0 {
		t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
}

// What a certificate says of itself does nothing to a terminal that JSON is read on.
func TestJSONIsVisible(t *testing.T) {
	cmd := doctorCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	says := "a\u009b31m\u202e\u007f\U000e0041é"
	if err := printJSON(cmd, says); err != nil {
		t.Fatal(err)
	}
	var back string
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back != says {
		t.Errorf("%q, %v", back, err)
	}
	if want := `"a\u009b31m\u202e\u007f\udb40\udc41é"` + "\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
