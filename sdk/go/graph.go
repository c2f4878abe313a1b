package sagaline

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"unsafe"

	"google.golang.org/protobuf/proto"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Ref is a value that a saga will have: a node's output, the parameters, or a field of either. Its type is checked where
// it is used, so that a graph whose data does not fit does not compile.
type Ref[T any] struct {
	builder *GraphBuilder
	node    string // "": the parameters
	path    []string
	literal *pb.Payload
}

// Node is the name of the node whose output it is; "" for parameters and literals.
func (r Ref[T]) Node() string { return r.node }

func (r Ref[T]) source() *pb.InputSource {
	source := &pb.InputSource{Path: r.path}
	switch {
	case r.literal != nil:
		source.Source = &pb.InputSource_Literal{Literal: r.literal}
	case r.node == "":
		source.Source = &pb.InputSource_Params{Params: &pb.ParamsSource{}}
	default:
		source.Source = &pb.InputSource_Node{Node: r.node}
	}
	return source
}

func (r Ref[T]) owner() *GraphBuilder { return r.builder }
func (r Ref[T]) name() string         { return r.node }

// AnyRef is a Ref of any type.
type AnyRef interface {
	source() *pb.InputSource
	owner() *GraphBuilder
	name() string
}

// GraphBuilder collects nodes. Problems are gathered too, and Build tells of all of them in one error.
type GraphBuilder struct {
	graph    *pb.Graph
	names    map[string]bool
	problems []error
}

var nodeName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)

// NewGraph begins a graph whose sagas take parameters of type P; None if they take none.
func NewGraph[P any](name string) (*GraphBuilder, Ref[P]) {
	g := &GraphBuilder{graph: &pb.Graph{Name: name}, names: map[string]bool{}}
	return g, Ref[P]{builder: g}
}

// Graph is a graph that can be created; P are its parameters and R its result.
type Graph[P, R any] struct{ message *pb.Graph }

// Message is the graph as it is sent.
func (g *Graph[P, R]) Message() *pb.Graph { return proto.CloneOf(g.message) }

// Build gives the graph, with the value that is the saga's result.
func Build[P, R any](params Ref[P], result Ref[R]) (*Graph[P, R], error) {
	g := params.builder
	if len(result.path) > 0 || result.node == "" {
		g.fault("the result has to be the whole output of a node")
	}
	g.check("the result", result)
	if len(g.problems) > 0 {
		return nil, errors.Join(g.problems...)
	}
	message := proto.CloneOf(g.graph)
	message.Result = result.node
	return &Graph[P, R]{message}, nil
}

// BuildAll gives the graph without naming a result: that is the output of the only node that nothing depends on, and null
// where there are several.
func BuildAll[P any](params Ref[P]) (*Graph[P, any], error) {
	g := params.builder
	if len(g.graph.Nodes) == 0 {
		g.fault("it has no nodes")
	}
	if len(g.problems) > 0 {
		return nil, errors.Join(g.problems...)
	}
	return &Graph[P, any]{proto.CloneOf(g.graph)}, nil
}

// MustBuild is Build for package variables: it panics.
func MustBuild[P, R any](params Ref[P], result Ref[R]) *Graph[P, R] {
	graph, err := Build(params, result)
	if err != nil {
		panic(err)
	}
	return graph
}

func (g *GraphBuilder) fault(format string, args ...any) {
	g.problems = append(g.problems, undefinable("graph %s: %s", g.graph.Name, fmt.Sprintf(format, args...)))
}

func (g *GraphBuilder) check(what string, refs ...AnyRef) {
	for _, ref := range refs {
		if ref.owner() != nil && ref.owner() != g {
			g.fault("%s is of another graph", what)
		}
	}
}

func (g *GraphBuilder) add(name string, node *pb.Node) {
	switch {
	case !nodeName.MatchString(name):
		g.fault("%q can't be the name of a node: 1 to 64 of A-Z a-z 0-9 _ . -, a letter or _ first", name)
	case g.names[name]:
		g.fault("two nodes are called %q", name)
	}
	g.names[name] = true
	node.Name = name
	g.graph.Nodes = append(g.graph.Nodes, node)
}

// Literal is a value that is fixed in the graph.
func Literal[T any](value T) Ref[T] {
	payload, err := EncodePayload(value)
	if err != nil {
		panic(err)
	}
	return Ref[T]{literal: payload}
}

// Field selects a field of a value: the function gives a pointer to it, and its type is the type of the new Ref.
//
//	amount := sagaline.Field(order, func(o *Order) *int { return &o.Amount })
func Field[T, F any](of Ref[T], field func(*T) *F) Ref[F] {
	name, err := fieldName(field)
	if err != nil {
		panic(undefinable("Field: %v", err))
	}
	return Ref[F]{of.builder, of.node, extended(of.path, name), of.literal}
}

// Index selects an element of a list, the first being 0.
func Index[T any](of Ref[[]T], index int) Ref[T] {
	if index < 0 {
		panic(undefinable("Index: %d", index))
	}
	return Ref[T]{of.builder, of.node, extended(of.path, strconv.Itoa(index)), of.literal}
}

// Key selects the value of a key of a map.
func Key[T any](of Ref[map[string]T], key string) Ref[T] {
	return Ref[T]{of.builder, of.node, extended(of.path, key), of.literal}
}

func extended(path []string, by string) []string { return append(slices.Clone(path), by) }

// fieldName finds out which field of a struct a function points to, by its place in one.
func fieldName[T, F any](field func(*T) *F) (string, error) {
	shape, err := shapeOf(reflect.TypeFor[T]())
	if err != nil || !shape.named {
		return "", fmt.Errorf("%v has no fields that JSON could name", reflect.TypeFor[T]())
	}
	zero := new(T)
	at := uintptr(unsafe.Pointer(field(zero))) - uintptr(unsafe.Pointer(zero))
	for _, candidate := range shape.fields {
		if candidate.offset == at && candidate.typ == reflect.TypeFor[F]() {
			return candidate.name, nil
		}
	}
	return "", fmt.Errorf("the function does not point to a field of %v", reflect.TypeFor[T]())
}
