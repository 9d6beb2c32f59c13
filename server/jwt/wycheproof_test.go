package jwt

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/keyset"
)

// vectors is where Project Wycheproof's are, beside the project.
const vectors = "../../../shared/testdata/wycheproof"

// A vector is one of them, with its group's keys.
type vector struct {
	ID      int    `json:"tcId"`
	Comment string `json:"comment"`
	JWS     any    `json:"jws"`
	Result  string `json:"result"`
	group   string
	keys    string // a JWK Set
}

func load(t *testing.T, name string) []vector {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectors, name))
	if os.IsNotExist(err) {
		t.Skipf("Project Wycheproof's vectors are not at %s", vectors)
	}
	var file struct {
		Groups []struct {
			Comment         string
			Public, Private json.RawMessage
			Tests           []vector
		} `json:"testGroups"`
	}
	if err == nil {
		err = json.Unmarshal(data, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	var out []vector
	for _, g := range file.Groups {
		key := g.Public
		if key == nil {
			key = g.Private // symmetric
		}
		set := string(key)
		if !strings.Contains(set, `"keys"`) {
			set = `{"keys":[` + set + `]}`
		}
		for _, v := range g.Tests {
			v.group, v.keys = g.Comment, set
			out = append(out, v)
		}
	}
	return out
}

// accepted runs a vector through everything but the claims, which the vectors
// do not have: their payloads are texts.
func accepted(v *vector) error {
	text, ok := v.JWS.(string)
	if !ok {
		return fmt.Errorf("the JSON serialization")
	}
	parts, refused := open(text)
	if refused != nil {
		return refused
	}
	keys, err := keyset.Parse([]byte(v.keys))
	if err != nil {
		return err
	}
	key := keys.Lookup(parts.head.kid)
	if key == nil {
		return refuse(KeyUnknown, "%q", parts.head.kid)
	}
	if refused := signed(parts, key); refused != nil {
		return refused
	}
	return nil
}

// deviations are good vectors that are refused, by what the refusal says, and
// why that is meant.
var deviations = []struct{ says, comments, why string }{
	{`alg "HS`, "", "what an issuer shares with the gate, the gate could issue with: symmetric keys are not offered"},
	{`alg "PS`, "", "RSASSA-PSS is not offered: Go's libraries take salts of any length"},
	{"ES521", "", "the vectors' own name; RFC 7518, 3.1 has ES512"},
	{"part 2 is empty", "emptyPayload", "no claims are no token"},
	{"no base64url", "InvalidCharacterInserted", "the vectors tell that some decoders pass over what is not of the alphabet; RFC 7515, 2 does not"},
}

// leniencies are bad vectors that are taken.
var leniencies = map[string]string{
	"rejectsKeyWithRocaVulnerability": "a key that can be factored (CVE-2017-15361) is the issuer's to replace, as its certificates' are; nothing in its form is wrong",
}

func TestWycheproof(t *testing.T) {
	for name, want := range map[string]int{"json_web_signature_test.json": 401, "json_web_key_test.json": 26} {
		t.Run(name, func(t *testing.T) {
			all, deviating, taken := load(t, name), 0, 0
			if len(all) != want {
				t.Errorf("%d vectors, want %d", len(all), want)
			}
			for _, v := range all {
				err := accepted(&v)
				switch {
				case err == nil && v.Result != "valid" && leniencies[v.Comment] == "":
					t.Errorf("%s %d %s: a bad one was taken", v.group, v.ID, v.Comment)
				case err != nil && v.Result == "valid":
					if deviating++; !explained(v.Comment, err) {
						t.Errorf("%s %d %s: a good one was refused: %v", v.group, v.ID, v.Comment, err)
					}
				case err == nil && v.Result == "valid":
					taken++
				}
			}
			if t.Logf("%d taken, %d good ones refused as explained", taken, deviating); taken == 0 && strings.Contains(name, "signature") {
				t.Error("none was taken")
			}
		})
	}
}

func explained(comment string, err error) bool {
	for _, d := range deviations {
		if strings.Contains(err.Error(), d.says) && strings.Contains(comment, d.comments) {
			return true
		}
	}
	return false
}
