package expr

import (
	"cmp"
	"fmt"
	"slices"

	jsonv2 "github.com/go-json-experiment/json"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// A Type is what an expression knows of a variable.
type Type struct {
	cel    *cel.Type
	fields map[string]*Type // of an object
	elem   *Type            // of a list
}

// The simple types.
var (
	Any    = &Type{cel: cel.DynType}
	Bool   = &Type{cel: cel.BoolType}
	Int    = &Type{cel: cel.IntType}
	Double = &Type{cel: cel.DoubleType}
	String = &Type{cel: cel.StringType}
	// Texts maps strings to strings, Object to anything.
	Texts  = &Type{cel: cel.MapType(cel.StringType, cel.StringType)}
	Object = &Type{cel: cel.MapType(cel.StringType, cel.DynType)}
)

// String names the type.
func (t *Type) String() string { return cel.FormatCELType(t.cel) }

// ListOf is a list of one type.
func ListOf(elem *Type) *Type { return &Type{cel: cel.ListType(elem.cel), elem: elem} }

// Struct is an object of which all fields are known.
func Struct(name string, fields map[string]*Type) *Type { return object("type/"+name, fields) }

// object makes one of a name that no expression can write: it would stand for the
// type in the place of the variable.
func object(name string, fields map[string]*Type) *Type {
	return &Type{cel: cel.ObjectType(name), fields: fields}
}

// FromSchema makes a type of a JSON Schema. Where a schema leaves open what there
// may be, the type does; name is that of the type.
func FromSchema(name string, schema []byte) (*Type, error) {
	var s schemaNode
	if err := jsonv2.Unmarshal(schema, &s); err != nil {
		return nil, err
	}
	return s.typed("type/"+name, 0), nil
}

// A schemaNode is a JSON Schema as far as types go.
type schemaNode struct {
	Type       any                    `json:"type"`
	Properties map[string]*schemaNode `json:"properties"`
	Additional any                    `json:"additionalProperties"`
	Patterns   map[string]any         `json:"patternProperties"`
	Items      *schemaNode            `json:"items"`
}

// UnmarshalJSON takes a schema that is true or false for one that says nothing.
func (s *schemaNode) UnmarshalJSON(data []byte) error {
	if text := string(data); text == "true" || text == "false" {
		return nil
	}
	type plain schemaNode
	return jsonv2.Unmarshal(data, (*plain)(s))
}

const maxDepth = 16

func (s *schemaNode) typed(name string, depth int) *Type {
	if s == nil || depth > maxDepth {
		return Any
	}
	switch s.Type {
	case "string":
		return String
	case "integer":
		return Int
	case "number":
		return Double
	case "boolean":
		return Bool
	case "array":
		elem := s.Items.typed(name+"/items", depth+1)
		return ListOf(elem)
	case "object":
		if len(s.Properties) == 0 || len(s.Patterns) > 0 || (s.Additional != nil && s.Additional != false) {
			if s.Properties == nil && s.Additional == false {
				return object(name, map[string]*Type{})
			}
			return Object
		}
		fields := make(map[string]*Type, len(s.Properties))
		for field, of := range s.Properties {
			fields[field] = of.typed(name+"/"+field, depth+1)
		}
		return object(name, fields)
	}
	return Any
}

// provider adds the objects of variables to the types CEL has.
type provider struct {
	*types.Registry
	objects map[string]map[string]*Type
}

func (p *provider) learn(t *Type) {
	if t.elem != nil {
		p.learn(t.elem)
	}
	if t.fields == nil {
		return
	}
	p.objects[t.cel.TypeName()] = t.fields
	for _, f := range t.fields {
		p.learn(f)
	}
}

func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if _, ok := p.objects[name]; ok {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Registry.FindStructType(name)
}

func (p *provider) FindStructFieldNames(name string) ([]string, bool) {
	fields, ok := p.objects[name]
	if !ok {
		return p.Registry.FindStructFieldNames(name)
	}
	names := make([]string, 0, len(fields))
	for field := range fields {
		names = append(names, field)
	}
	slices.SortFunc(names, cmp.Compare[string])
	return names, true
}

func (p *provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	fields, ok := p.objects[name]
	if !ok {
		return p.Registry.FindStructFieldType(name, field)
	}
	t, ok := fields[field]
	if !ok {
		return nil, false
	}
	get := func(target any) (any, bool) {
		if v, isVal := target.(ref.Val); isVal {
			target = v.Value()
		}
		switch m := target.(type) {
		case map[string]any:
			v, there := m[field]
			return v, there
		case map[string]string:
			v, there := m[field]
			return v, there
		}
		return nil, false
	}
	return &types.FieldType{
		Type:  t.cel,
		IsSet: func(target any) bool { _, there := get(target); return there },
		GetFrom: func(target any) (any, error) {
			v, there := get(target)
			if !there {
				return nil, fmt.Errorf("there is no %s; write has(…) first, or .?%[1]s", field)
			}
			return v, nil
		},
	}, true
}
