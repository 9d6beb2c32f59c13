package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"strings"
	"testing"
)

// TestRedactHidesParts checks that no part of a value shows in an error that arises
// after the configuration was read, however the error is spelled, printed or unwrapped.
//
// Holds: operator/interpolated-values-hidden
func TestRedactHidesParts(t *testing.T) {
	const secret = "hunter2-\"q\" zz%zz+(x/ Älter\n2nd line"
	t.Setenv("API_TOKEN", secret)
	c, err := parse(folder(t)+"/sangate.yaml", []byte(strings.Replace(whole, "state:", "state: '${API_TOKEN}' # ", 1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Secrets) != 1 || c.Secrets[0] != secret {
		t.Errorf("Secrets = %q, want the value", c.Secrets)
	}
	asJSON, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"whole": secret, "middle": "token \"q\" zz%zz is unexpected", "quoted": fmt.Sprintf("%q", secret), "ASCII": fmt.Sprintf("%+q", secret),
		"JSON": string(asJSON), "query": url.QueryEscape(secret), "path": url.PathEscape(secret), "cut": secret[:len(secret)-7], "cut and quoted": fmt.Sprintf("%.12q", secret),
		"end": "unexpected end in " + secret[20:], "behind much": strings.Repeat("x", 2*maxRedacted) + secret,
	} {
		inner := Problems{{File: "f", Line: 1, Col: 2, Message: text}}
		err := c.Redact(fmt.Errorf("open %s: %w", text, errors.Join(&fs.PathError{Op: "open", Path: text, Err: fs.ErrNotExist}, inner)))
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Error("failed", "err", err)
		shown := fmt.Sprintf("%s %v %+v %#v %q %x", err, err, err, err, err, "") + log.String()
		if all, err := json.Marshal(err); err == nil {
			shown += string(all)
		}
		for e := errors.Unwrap(err); e != nil; e = errors.Unwrap(e) {
			shown += e.Error()
		}
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			shown += e.Path
		}
		problems, ok := errors.AsType[Problems](err)
		if shown += problems.Error(); !ok || len(problems) != 1 || problems[0].Line != 1 || !errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: errors.Is and As do not find what they should: %v", name, problems)
		}
		for _, part := range []string{"hunter", "unter2", "zz%zz", "zz%25zz", "+(x", "lter", "2nd", "line"} {
			if strings.Contains(shown, part) {
				t.Errorf("%s: %q shows in %.600q", name, part, shown)
			}
		}
		if name != "behind much" && !strings.Contains(shown, "${API_TOKEN}") {
			t.Errorf("%s: the variable is not named: %.300q", name, shown)
		}
	}
}
