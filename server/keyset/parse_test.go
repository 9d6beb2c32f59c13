package keyset_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/keyset"
)

// Keys that are not to be used are passed over, one by one.
func TestParse(t *testing.T) {
	var private map[string]any
	_ = json.Unmarshal([]byte(ec("bad")), &private)
	private["d"] = "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"
	withD, _ := json.Marshal(private)
	small := `{"kty":"RSA","e":"AQAB","kid":"bad","n":"` + strings.Repeat("3", 170) + `"}` // 1020 bits
	for name, tt := range map[string]struct{ key, want string }{
		"for encryption":   {ec("bad", `"use":"enc"`), "not for signatures"},
		"empty use":        {ec("bad", `"use":""`), "not for signatures"},
		"signs only":       {ec("bad", `"key_ops":["sign"]`), "not for verifying"},
		"no kid":           {ec(""), "kid"},
		"long kid":         {ec(strings.Repeat("k", 257)), "kid"},
		"private":          {string(withD), "private"},
		"symmetric":        {`{"kty":"oct","k":"c2VjcmV0","kid":"bad"}`, "symmetric"},
		"small":            {small, "bits"},
		"wrong curve":      {ec("bad", `"alg":"ES384"`), "alg"},
		"PSS":              {ec("bad", `"alg":"PS256"`), "alg"},
		"HMAC":             {ec("bad", `"alg":"HS256"`), "alg"},
		"unknown kind":     {`{"kty":"PQC","kid":"bad"}`, "bad"},
		"not on the curve": {strings.Replace(ec("bad"), "MKBC", "MKBD", 1), "bad"},
		"a name twice":     {ec("bad", `"use":"sig"`, `"use":"sig"`), "duplicate"},
		"of a string":      {`"bad"`, "no JWK"},
	} {
		set := setOf(ec("good", `"use":"sig"`, `"alg":"ES256"`, `"key_ops":["verify"]`), tt.key)
		if strings.Contains(tt.want, "duplicate") { // then the document is none
			if _, err := keyset.Parse([]byte(set)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		k, err := keyset.Parse([]byte(set))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(k.PassedOver) != 1 || !strings.Contains(k.PassedOver[0], tt.want) || len(k.IDs()) != 1 || k.Lookup("good") == nil {
			t.Errorf("%s: keys %q, passed over %q", name, k.IDs(), k.PassedOver)
		}
	}
	k, err := keyset.Parse([]byte(setOf(ec("one"), ec("two"), ec("two"), ec("two"))))
	if err != nil || len(k.IDs()) != 1 || len(k.PassedOver) != 2 {
		t.Errorf("a kid thrice: %v, %v", k, err)
	}
	many := make([]string, 101)
	for i := range many {
		many[i] = ec(fmt.Sprint(i))
	}
	if _, err := keyset.Parse([]byte(setOf(many...))); err == nil {
		t.Error("101 keys were taken")
	}
}
