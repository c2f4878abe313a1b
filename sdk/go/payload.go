package sagaline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Payload is a value as it is stored and sent: JSON text, or bytes with an encoding. An action that takes or returns
// *Payload converts by itself.
type Payload = pb.Payload

// None is the type of an input or output that there is none of.
type None = struct{}

const (
	protobufEncoding = "binary/protobuf"
	messageTypeKey   = "message_type"
)

var (
	noneType    = reflect.TypeFor[None]()
	messageType = reflect.TypeFor[proto.Message]()
)

// EncodePayload turns a value into a payload: protobuf messages into their bytes, everything else into JSON.
func EncodePayload(value any) (*Payload, error) {
	switch v := value.(type) {
	case nil, None:
		return &Payload{Value: &pb.Payload_Json{Json: "null"}}, nil
	case *Payload:
		if v == nil {
			return &Payload{}, nil
		}
		return v, nil
	case proto.Message:
		data, err := proto.Marshal(v)
		if err != nil {
			return nil, &ConversionError{"protobuf message", err}
		}
		name := string(v.ProtoReflect().Descriptor().FullName())
		return &Payload{
			Value: &pb.Payload_Data{Data: data}, Encoding: protobufEncoding, Metadata: map[string]string{messageTypeKey: name},
		}, nil
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, &ConversionError{fmt.Sprintf("a value of type %T", value), err}
	}
	return &Payload{Value: &pb.Payload_Json{Json: string(bytes.TrimSuffix(text.Bytes(), []byte("\n")))}}, nil
}

// DecodePayload turns a payload into the value that a pointer leads to. A payload without a value is the JSON null.
func DecodePayload(payload *Payload, into any) error {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("sagaline: DecodePayload into %T: give a pointer", into)
	}
	return decodeInto(payload, target.Elem())
}

func decodeInto(payload *Payload, value reflect.Value) error {
	switch {
	case value.Type() == reflect.TypeFor[*Payload]():
		value.Set(reflect.ValueOf(payload))
		return nil
	case value.Type() == noneType:
		return nil
	case value.Kind() == reflect.Pointer && value.Type().Implements(messageType):
		message := reflect.New(value.Type().Elem())
		if err := decodeMessage(payload, message.Interface().(proto.Message)); err != nil {
			return err
		}
		value.Set(message)
		return nil
	}
	if data, isData := payload.GetValue().(*pb.Payload_Data); isData {
		if value.Type() == reflect.TypeFor[[]byte]() {
			value.SetBytes(data.Data)
			return nil
		}
		return fmt.Errorf("bytes of encoding %q do not fit %v", payload.GetEncoding(), value.Type())
	}
	text := payload.GetJson()
	if text == "" {
		text = "null"
	}
	return json.Unmarshal([]byte(text), value.Addr().Interface())
}

func decodeMessage(payload *Payload, message proto.Message) error {
	name := string(message.ProtoReflect().Descriptor().FullName())
	switch value := payload.GetValue().(type) {
	case *pb.Payload_Data:
		if payload.GetEncoding() != protobufEncoding {
			return fmt.Errorf("bytes of encoding %q are no %s", payload.GetEncoding(), name)
		}
		if told := payload.GetMetadata()[messageTypeKey]; told != "" && told != name {
			return fmt.Errorf("a message %s is no %s", told, name)
		}
		return proto.Unmarshal(value.Data, message)
	case *pb.Payload_Json:
		return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal([]byte(value.Json), message)
	}
	return fmt.Errorf("null is no %s", name)
}
