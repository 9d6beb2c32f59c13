package config

import (
	"encoding/json"
	"reflect"
	"time"
)

// Schema returns the JSON Schema of a configuration file, for editors. It knows
// keys and types; what values mean to each other only [Load] knows.
func Schema() ([]byte, error) {
	schema := schemaOf(reflect.TypeFor[Config](), reflect.ValueOf(*defaults()))
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "sangate configuration"
	schema["required"] = []string{"state", "tls", "tenants"}
	return json.MarshalIndent(schema, "", "  ")
}

// enums are the values of strings that have few, by the Go field's name.
var enums = map[string][]string{
	"MinVersion":   {"1.2", "1.3"},
	"SecondFactor": {"required", "optional", "none"},
	"Level":        {"debug", "info", "warn", "error"},
	"Format":       {"json", "text"},
	"CRLMode":      {"hard", "soft"},
	"RenewMode":    {"rekey", "renew"},
	"KeyType":      keyTypes,
	"Callers":      callers,
	"Binding":      {"none", "ifPresent", "required"},
}

// schemaOf describes a type; def, where it is valid, holds the defaults.
func schemaOf(t reflect.Type, def reflect.Value) map[string]any {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return map[string]any{"type": "string", "pattern": `^([0-9.]+(ns|us|µs|ms|s|m|h))+$`}
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	}
	if t == reflect.TypeFor[json.RawMessage]() {
		return map[string]any{"type": []string{"object", "boolean"}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem(), reflect.Value{})
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem(), reflect.Value{})}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), reflect.Value{})}
	case reflect.Struct:
		return structSchema(t, def)
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Int, reflect.Int64, reflect.Uint32:
		return map[string]any{"type": "integer"}
	}
	return map[string]any{"type": "string"}
}

func structSchema(t reflect.Type, def reflect.Value) map[string]any {
	properties := make(map[string]any)
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("yaml")
		if name == "-" {
			continue
		}
		var value reflect.Value
		if def.IsValid() {
			value = def.Field(i)
		}
		p := schemaOf(f.Type, value)
		if values, ok := enums[f.Name]; ok {
			p["enum"] = values
		}
		switch {
		case f.Tag.Get("default") == "true":
			p["default"] = true
		case !value.IsValid() || value.IsZero() || value.Kind() == reflect.Struct:
		case value.Type() == reflect.TypeFor[time.Duration]():
			p["default"] = value.Interface().(time.Duration).String()
		default:
			p["default"] = value.Interface()
		}
		properties[name] = p
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
}
