package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

func fieldOf(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == name && name != "-" {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

var separators = strings.NewReplacer("_", "", "-", "")

// suggestion names the key that was meant, where case or a separator is all
// that is wrong.
func suggestion(t reflect.Type, name string) string {
	fold := func(s string) string { return strings.ToLower(separators.Replace(s)) }
	var keys []string
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("yaml")
		if key == "-" {
			continue
		}
		if fold(key) == fold(name) {
			return fmt.Sprintf("; write %s", key)
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return "; known here: " + strings.Join(keys, ", ")
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func cmpPath(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}
