package sagaline

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// itemInput is what the element of a map node is called as an input.
const itemInput = "item"

// soleInput is the name that a graph of this SDK gives the input of an action that takes one value.
const soleInput = "input"

var inputName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)

// shape is how the inputs of an action become its In: by the fields of a struct, or one input as it is.
type shape struct {
	typ    reflect.Type
	fields []inputField // nil and !named: one value
	named  bool
}

type inputField struct {
	name     string
	index    int
	offset   uintptr
	typ      reflect.Type
	optional bool
}

// shapeOf looks at a type once, when an action is made.
func shapeOf(typ reflect.Type) (shape, error) {
	s := shape{typ: typ}
	pointer := reflect.PointerTo(typ)
	if typ.Kind() != reflect.Struct || pointer.Implements(messageType) ||
		pointer.Implements(reflect.TypeFor[json.Unmarshaler]()) || pointer.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		if pointer.Implements(messageType) {
			return s, fmt.Errorf("%v is a protobuf message: use *%v", typ, typ)
		}
		return s, nil
	}
	s.named = true
	for i := range typ.NumField() {
		field := typ.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" || (!field.IsExported() && !field.Anonymous) {
			continue
		}
		if field.Anonymous && name == "" {
			return s, fmt.Errorf("field %s of %v is embedded: name it, inputs have names", field.Name, typ)
		}
		if name == "" {
			name = field.Name
		}
		if !inputName.MatchString(name) {
			return s, fmt.Errorf("field %s of %v: %q can't be the name of an input", field.Name, typ, name)
		}
		optional := field.Type.Kind() == reflect.Pointer && !field.Type.Implements(messageType)
		optional = optional || strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		s.fields = append(s.fields, inputField{name, i, field.Offset, field.Type, optional})
	}
	return s, nil
}

// decode fills a value of the type from named inputs.
func (s shape) decode(inputs map[string]*pb.Payload, value reflect.Value) error {
	if !s.named {
		return s.decodeSole(inputs, value)
	}
	if item, only := inputs[itemInput]; only && len(inputs) == 1 && !s.has(itemInput) {
		// An element of a map node, whose fields are the inputs.
		if err := decodeInto(item, value); err != nil {
			return &ConversionError{"the element", err}
		}
		return nil
	}
	var problems []error
	for _, field := range s.fields {
		payload, given := inputs[field.name]
		if !given {
			if !field.optional {
				problems = append(problems, &ConversionError{fmt.Sprintf("input %q", field.name), errors.New("it is missing")})
			}
			continue
		}
		if err := decodeInto(payload, value.Field(field.index)); err != nil {
			problems = append(problems, &ConversionError{fmt.Sprintf("input %q", field.name), err})
		}
	}
	return errors.Join(problems...)
}

// decodeSole: whatever the one input is called.
func (s shape) decodeSole(inputs map[string]*pb.Payload, value reflect.Value) error {
	if len(inputs) != 1 {
		return &ConversionError{"the input", fmt.Errorf("one is taken, and %d were given", len(inputs))}
	}
	for name, payload := range inputs {
		if err := decodeInto(payload, value); err != nil {
			return &ConversionError{fmt.Sprintf("input %q", name), err}
		}
	}
	return nil
}

func (s shape) has(name string) bool {
	for _, field := range s.fields {
		if field.name == name {
			return true
		}
	}
	return false
}

// types declares the inputs by name.
func (s shape) types() map[string]*pb.TypeSpec {
	types := map[string]*pb.TypeSpec{}
	for _, field := range s.fields {
		if spec := typeSpec(field.typ, taken); spec != nil {
			types[field.name] = spec
		}
	}
	return types
}
