package sagaline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"sagaline.dev/sdk/go/internal/engine"
	"sagaline.dev/sdk/go/internal/machine"
	pb "sagaline.dev/sdk/go/sagaline/v1"
)

func jsonPayload(text string) *Payload { return &Payload{Value: &pb.Payload_Json{Json: text}} }

func TestPayloadsComeBackAsTheyWere(t *testing.T) {
	type pair struct {
		A string `json:"a"`
		B []int  `json:"b"`
	}
	for _, value := range []any{"<&>", 17, 1.5, true, pair{"x", []int{1}}, map[string]int{"k": 1}, &pb.Sec{SecId: "s"}} {
		payload, err := EncodePayload(value)
		if err != nil {
			t.Fatal(err)
		}
		got := reflect.New(reflect.TypeOf(value))
		if err := DecodePayload(payload, got.Interface()); err != nil {
			t.Fatalf("%v: %v", value, err)
		}
		if message, ok := value.(proto.Message); ok {
			if !proto.Equal(message, got.Elem().Interface().(proto.Message)) {
				t.Fatalf("%v became %v", value, got.Elem())
			}
		} else if !reflect.DeepEqual(got.Elem().Interface(), value) {
			t.Fatalf("%v became %v", value, got.Elem())
		}
	}
	if p, _ := EncodePayload(map[string]string{"a": "<&>"}); p.GetJson() != `{"a":"<&>"}` {
		t.Fatalf("got %s", p.GetJson())
	}
	var sec *pb.Sec
	for _, bad := range []*Payload{
		{}, jsonPayload("17"), {Value: &pb.Payload_Data{Data: []byte{0xff}}, Encoding: "binary/protobuf"},
		{Value: &pb.Payload_Data{}, Encoding: "binary/protobuf", Metadata: map[string]string{"message_type": "other"}},
	} {
		if err := DecodePayload(bad, &sec); err == nil {
			t.Errorf("%v was taken for a message", bad)
		}
	}
}

type inputs struct {
	Name  string  `json:"name"`
	Count int     `json:"count,omitempty"`
	Sec   *pb.Sec `json:"sec"`
}

func TestInputsAreNamed(t *testing.T) {
	shape, err := shapeOf(reflect.TypeFor[inputs]())
	if err != nil {
		t.Fatal(err)
	}
	sec, _ := EncodePayload(&pb.Sec{SecId: "s"})
	var in inputs
	given := map[string]*Payload{"name": jsonPayload(`"Ada"`), "sec": sec, "unknown": jsonPayload("1")}
	if err := shape.decode(given, reflect.ValueOf(&in).Elem()); err != nil || in.Name != "Ada" || in.Sec.GetSecId() != "s" {
		t.Fatalf("got %+v, %v", in, err)
	}
	err = shape.decode(map[string]*Payload{"name": jsonPayload("1")}, reflect.ValueOf(&in).Elem())
	if err == nil || !strings.Contains(err.Error(), `"name"`) || !strings.Contains(err.Error(), `input "sec": it is missing`) {
		t.Fatalf("got %v", err)
	}
	types := shape.types()
	if types["sec"].GetMessageName() != "sagaline.v1.Sec" || types["count"].GetJsonSchema() != `{"type":"integer"}` {
		t.Fatalf("types %v", types)
	}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[struct{ inputs }](), reflect.TypeFor[pb.Sec](), reflect.TypeFor[struct {
			A int `json:"not a name"`
		}](),
	} {
		if s, err := shapeOf(typ); err == nil && len(s.fields) > 0 {
			t.Errorf("%v can't be named inputs", typ)
		}
	}
}

func TestWhatAnErrorSaysOfItsAttempt(t *testing.T) { // W26
	running := context.Background()
	stopped, stop := context.WithCancelCause(running)
	stop(&engine.StopError{Reason: machine.Superseded})
	late, release := context.WithDeadlineCause(running, time.Unix(1, 0), &engine.StopError{Reason: machine.TimedOut})
	defer release()
	const fail, hold, retry = dispositionFail, dispositionHold, dispositionRetry
	cases := map[string]struct {
		ctx         context.Context
		err         error
		typ         string
		disposition pb.FailureDisposition
		source      pb.FailureSource
	}{
		"failed":           {running, fmt.Errorf("so: %w", Failed("NoRoom", "full")), "NoRoom", fail, fromApplication},
		"hold":             {running, Hold("Look", ""), "Look", hold, fromApplication},
		"retry":            {running, Retry("Later", "", time.Second), "Later", retry, fromApplication},
		"plain":            {running, errors.New("x"), "error", retry, fromApplication},
		"typed, wrapped":   {running, fmt.Errorf("a: %w", &fs.PathError{Err: fs.ErrExist}), "fs.PathError", retry, fromApplication},
		"joined":           {running, errors.Join(&fs.PathError{Err: fs.ErrExist}), "fs.PathError", retry, fromApplication},
		"cancelled":        {stopped, fmt.Errorf("x: %w", context.Canceled), "sagaline.Cancelled", retry, pb.FailureSource_FAILURE_SOURCE_CANCELLED},
		"cancelled, cause": {stopped, context.Cause(stopped), "sagaline.Cancelled", retry, pb.FailureSource_FAILURE_SOURCE_CANCELLED},
		"not cancelled":    {running, context.Canceled, "error", retry, fromApplication},
		"failed, stopped":  {stopped, Failed("NoRoom", ""), "NoRoom", fail, fromApplication},
		"too long":         {late, context.DeadlineExceeded, "sagaline.StartToCloseTimeout", retry, pb.FailureSource_FAILURE_SOURCE_TIMEOUT},
		"panic":            {running, &PanicError{"x", ""}, "sagaline.Panic", retry, fromApplication},
		"input":            {running, &inputError{errors.New("x")}, "sagaline.InputNotConvertible", hold, fromConversion},
		"output":           {running, &outputError{errors.New("x")}, "sagaline.OutputNotConvertible", hold, fromConversion},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := failureOf(c.ctx, c.err, false)
			if got.GetType() != c.typ || got.GetDisposition() != c.disposition || got.GetSource() != c.source {
				t.Fatalf("got %v", got)
			}
		})
	}
}

func TestAPanicIsAnError(t *testing.T) {
	_, err := call(context.Background(), func(context.Context, *pb.Invocation) (*Payload, error) { panic(fs.ErrExist) }, nil)
	var panicked *PanicError
	if !errors.As(err, &panicked) || !errors.Is(err, fs.ErrExist) || !strings.Contains(panicked.Stack, "TestAPanicIsAnError") {
		t.Fatalf("got %v", err)
	}
}

func TestStableIDsAreThoseOfTheOtherLanguages(t *testing.T) { // W25
	if id := (&Info{SagaID: "s", Node: "n"}).StableID("name"); id != "014d8b29-a3ee-5ca1-8caf-41c8dd2e6e01" {
		t.Fatalf("got %s", id)
	}
}

func TestAllProblemsOfAGraphAreToldAtOnce(t *testing.T) {
	act := NewAction("act", "1", func(context.Context, inputs) (int, error) { return 0, nil })
	g, params := NewGraph[None]("bad")
	_, foreign := NewGraph[string]("other")
	Add(g, "one", act, With(Bind(func(in *inputs) *string { return &in.Name }, foreign)))
	Add(g, "one", act, With(Bind(func(in *inputs) *int { return new(int) }, Literal(1))))
	last := Constant(g, "2nd", 1)
	_, err := Build(params, last)
	for _, problem := range []string{
		"input name of node one is of another graph", "input sec of action act is not given", `two nodes are called "one"`,
		"does not point to a field", `"2nd" can't be the name of a node`,
	} {
		if err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%q is not among %v", problem, err)
		}
	}
	var definition *DefinitionError
	if !errors.As(err, &definition) {
		t.Errorf("got %T", err)
	}
}

func TestWorkersThatCannotBe(t *testing.T) {
	act := NewAction("act", "1", func(context.Context, None) (None, error) { return None{}, nil })
	cases := map[string]WorkerConfig{
		"no address":       {Addresses: "localhost", Actions: []Served{act}},
		"no action":        {Addresses: "a:1"},
		"an action twice":  {Addresses: "a:1", Actions: []Served{act, act}},
		"no pool":          {Addresses: "a:1", Actions: []Served{act.InPool("gpu")}},
		"only declared":    {Addresses: "a:1", Actions: []Served{Declare[None, None]("act", "1")}},
		"no slots":         {Addresses: "a:1", Actions: []Served{act}, Slots: -1},
		"a long build id":  {Addresses: "a:1", Actions: []Served{act}, BuildID: strings.Repeat("x", 129)},
		"one address of 2": {Addresses: "a:1,b", Actions: []Served{act}},
	}
	for name, config := range cases {
		if _, err := NewWorker(config); err == nil {
			t.Errorf("%s: it was made", name)
		}
	}
}

func TestTypesAreDeclaredAsJSONSchema(t *testing.T) {
	type inner struct {
		A *int           `json:"a,omitempty"`
		B []string       `json:"b"`
		C map[string]any `json:"c"`
		D time.Time      `json:"d"`
		E int64          `json:"e,string"`
		f int
	}
	_ = inner{}.f
	const properties = `{"properties":{"a":{"anyOf":[{"type":"integer"},{"type":"null"}]},"b":{"items":{"type":"string"},"type":"array"},` +
		`"c":{"additionalProperties":{},"type":"object"},"d":{},"e":{}},`
	cases := []struct {
		typ  reflect.Type
		way  direction
		want string
	}{
		{reflect.TypeFor[inner](), taken, properties + `"type":"object"}`},
		{reflect.TypeFor[inner](), given, properties + `"required":["b","c","d","e"],"type":"object"}`},
		{reflect.TypeFor[[]byte](), given, `{"type":"string"}`},
		{reflect.TypeFor[any](), given, ""},
		{reflect.TypeFor[None](), given, ""},
		{reflect.TypeFor[*Payload](), given, ""},
	}
	for _, c := range cases {
		if got := typeSpec(c.typ, c.way).GetJsonSchema(); got != c.want {
			t.Errorf("%v: %s", c.typ, got)
		}
	}
}
