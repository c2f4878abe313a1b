package sagaline

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

const (
	schemaBytes = 16 << 10 // of a TypeSpec; a type that takes more is not declared
	schemaDepth = 16       // types nested deeper, or that contain themselves, are not described further down
)

// direction is which way a value goes: what an action takes may lack fields, for Go leaves them zero; what it gives has
// every field that is not left out when it is empty.
type direction int

const (
	taken direction = iota
	given
)

// typeSpec declares a type to the SEC, so that a graph whose data does not fit is refused when a saga of it is created,
// whatever language the other side is written in. nil: any payload fits, as far as anybody but Go can tell.
func typeSpec(typ reflect.Type, way direction) *pb.TypeSpec {
	switch {
	case typ == reflect.TypeFor[*Payload]() || typ == noneType:
		return nil
	case typ.Kind() == reflect.Pointer && typ.Implements(messageType):
		message := reflect.New(typ.Elem()).Interface().(proto.Message)
		name := string(message.ProtoReflect().Descriptor().FullName())
		return &pb.TypeSpec{Type: &pb.TypeSpec_MessageName{MessageName: name}}
	}
	schema := schemaOf(typ, way, schemaDepth)
	text, err := json.Marshal(schema)
	if err != nil || len(schema) == 0 || len(text) > schemaBytes {
		return nil
	}
	return &pb.TypeSpec{Type: &pb.TypeSpec_JsonSchema{JsonSchema: string(text)}}
}

type object = map[string]any

// schemaOf is the JSON Schema of what encoding/json makes of a type. It says nothing where it is not certain.
func schemaOf(typ reflect.Type, way direction, depth int) object {
	pointer := reflect.PointerTo(typ)
	converts := pointer.Implements(reflect.TypeFor[json.Marshaler]()) || pointer.Implements(reflect.TypeFor[json.Unmarshaler]()) ||
		pointer.Implements(reflect.TypeFor[encoding.TextMarshaler]()) || pointer.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
	if depth == 0 || converts || typ == reflect.TypeFor[json.Number]() {
		return object{}
	}
	switch typ.Kind() {
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Pointer:
		if inner := schemaOf(typ.Elem(), way, depth-1); len(inner) > 0 {
			return object{"anyOf": []object{inner, {"type": "null"}}}
		}
	case reflect.Slice, reflect.Array:
		if typ.Elem().Kind() == reflect.Uint8 && typ.Kind() == reflect.Slice {
			return object{"type": "string"}
		}
		return object{"type": "array", "items": schemaOf(typ.Elem(), way, depth-1)}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": schemaOf(typ.Elem(), way, depth-1)}
	case reflect.Struct:
		return structSchema(typ, way, depth)
	}
	return object{}
}

func structSchema(typ reflect.Type, way direction, depth int) object {
	properties, required := object{}, []string{}
	for i := range typ.NumField() {
		field := typ.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous {
			return object{"type": "object"} // its fields are promoted by rules of their own
		}
		if name == "-" && options == "" || !field.IsExported() {
			continue
		}
		if name == "" {
			name = field.Name
		}
		properties[name] = schemaOf(field.Type, way, depth-1)
		if strings.Contains(options, "string") {
			properties[name] = object{}
		}
		if way == given && !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			required = append(required, name)
		}
	}
	schema := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		schema["required"] = required
	}
	return schema
}
