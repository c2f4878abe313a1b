package sagaline

import (
	"reflect"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Binding says where one input of an action that takes In comes from.
type Binding[In any] struct {
	inputs map[string]AnyRef
	place  string // the input that is an element's place in its list
	err    error
}

// Bind gives one field of an action's inputs the value of a Ref of the same type.
//
//	sagaline.Bind(func(in *ChargeIn) *int { return &in.Amount }, amount)
func Bind[In, T any](field func(*In) *T, from Ref[T]) Binding[In] {
	name, err := fieldName(field)
	return Binding[In]{inputs: map[string]AnyRef{name: from}, err: err}
}

// BindIndex gives one field of the inputs of a [MapField] the place of the element in its list, from 0.
func BindIndex[In any](field func(*In) *int) Binding[In] {
	name, err := fieldName(field)
	return Binding[In]{place: name, err: err}
}

// From gives an action all of its input from one Ref: where In is a struct, each input from the field of the same name.
func From[In any](from Ref[In]) Binding[In] {
	shape, err := shapeOf(reflect.TypeFor[In]())
	if !shape.named {
		return Binding[In]{inputs: map[string]AnyRef{soleInput: from}, err: err}
	}
	inputs := map[string]AnyRef{}
	for _, field := range shape.fields {
		inputs[field.name] = Ref[any]{from.builder, from.node, extended(from.path, field.name), from.literal}
	}
	return Binding[In]{inputs: inputs, err: err}
}

// Add adds a node that runs an action, and gives its output.
func Add[In, Out any](g *GraphBuilder, name string, action *Action[In, Out], inputs []Binding[In], options ...NodeOption) Ref[Out] {
	node := actionNode(action)
	if bindInputs(g, name, action, node, inputs) != "" {
		g.fault("node %s: an index is the place of an element, and this is no map", name)
	}
	message := &pb.Node{Kind: &pb.Node_Action{Action: node}}
	g.options(name, message, node, options)
	g.add(name, message)
	return Ref[Out]{builder: g, node: name}
}

// bindInputs fills the inputs of a node; one of them may come from elsewhere. It gives the one that is an element's place.
func bindInputs[In, Out any](
	g *GraphBuilder, name string, action *Action[In, Out], node *pb.ActionNode, inputs []Binding[In], elsewhere ...string,
) (place string) {
	node.Inputs = map[string]*pb.InputSource{}
	for _, binding := range inputs {
		if binding.err != nil {
			g.fault("node %s: %v", name, binding.err)
		}
		if binding.place != "" {
			if place != "" {
				g.fault("node %s: two inputs are the index", name)
			}
			place = binding.place
			elsewhere = append(elsewhere, place)
		}
	}
	for _, binding := range inputs {
		for input, ref := range binding.inputs {
			if _, twice := node.Inputs[input]; twice || slices.Contains(elsewhere, input) {
				g.fault("node %s: input %s is given twice", name, input)
			}
			g.check("input "+input+" of node "+name, ref)
			node.Inputs[input] = ref.source()
		}
	}
	for _, field := range action.shape.fields {
		if node.Inputs[field.name] == nil && !field.optional && !slices.Contains(elsewhere, field.name) {
			g.fault("node %s: input %s of action %s is not given", name, field.name, action.name)
		}
	}
	if !action.shape.named && len(node.Inputs) == 0 {
		g.fault("node %s: the input of action %s is not given", name, action.name)
	}
	return place
}

// With lists bindings.
func With[In any](bindings ...Binding[In]) []Binding[In] { return bindings }

func actionNode[In, Out any](action *Action[In, Out]) *pb.ActionNode {
	node := &pb.ActionNode{
		Action: action.name, Version: action.version,
		InputTypes: action.shape.types(), OutputType: typeSpec(reflect.TypeFor[Out](), given),
	}
	if action.run != nil && action.undo == nil {
		node.Undo = &pb.UndoPolicy{Kind: pb.UndoKind_UNDO_KIND_NOOP}
	}
	return node
}

// Constant adds a node that has its value from the start.
func Constant[T any](g *GraphBuilder, name string, value T) Ref[T] {
	g.add(name, &pb.Node{Kind: &pb.Node_Constant{Constant: &pb.ConstantNode{Value: Literal(value).literal}}})
	return Ref[T]{builder: g, node: name}
}

// Subsaga adds a graph as a node. A graph that takes None has the parameters NoParams.
func Subsaga[P, R any](g *GraphBuilder, name string, graph *Graph[P, R], params Ref[P], after ...AnyRef) Ref[R] {
	g.check("the parameters of node "+name, params)
	subsaga := &pb.SubsagaNode{Graph: graph.Message()}
	if reflect.TypeFor[P]() != noneType {
		subsaga.Params = params.source()
	}
	g.add(name, &pb.Node{Kind: &pb.Node_Subsaga{Subsaga: subsaga}, After: g.after(name, after)})
	return Ref[R]{builder: g, node: name}
}

// NoParams are the parameters of a graph that takes None.
func NoParams() Ref[None] { return Literal(None{}) }

// MapOptions bound a map node.
type MapOptions struct {
	// MaxConcurrency: elements that run at once; 0: no limit.
	MaxConcurrency int
	// Canary: so many must succeed before the rest start.
	Canary int
	// MaxFailures: elements that may fail before the node does. Their output is null: take pointers, or a type whose zero
	// value says it.
	MaxFailures int
}

func (m MapOptions) node(items *pb.InputSource) *pb.MapNode {
	return &pb.MapNode{
		Items: items, MaxConcurrency: int32(m.MaxConcurrency), Canary: int32(m.Canary), MaxFailures: int32(m.MaxFailures),
	}
}

// Map adds a node that runs an action for each element of a list, which is the whole of its input, and gives the list of
// their outputs.
func Map[In, Out any](g *GraphBuilder, name string, action *Action[In, Out], items Ref[[]In], bounds MapOptions, options ...NodeOption) Ref[[]Out] {
	each := actionNode(action)
	if spec := typeSpec(reflect.TypeFor[In](), taken); spec != nil {
		each.InputTypes = map[string]*pb.TypeSpec{itemInput: spec}
	}
	addMap(g, name, items, bounds, each, "", "", options)
	return Ref[[]Out]{builder: g, node: name}
}

// MapField adds a node that runs an action for each element of a list, which is one field of its inputs: the function gives
// a pointer to it. The other inputs are the same for every element.
func MapField[In, T, Out any](
	g *GraphBuilder, name string, action *Action[In, Out], items Ref[[]T], field func(*In) *T, shared []Binding[In],
	bounds MapOptions, options ...NodeOption,
) Ref[[]Out] {
	item, err := fieldName(field)
	if err != nil {
		g.fault("node %s: %v", name, err)
	}
	each := actionNode(action)
	index := bindInputs(g, name, action, each, shared, item)
	addMap(g, name, items, bounds, each, item, index, options)
	return Ref[[]Out]{builder: g, node: name}
}

func addMap(g *GraphBuilder, name string, items AnyRef, bounds MapOptions, each *pb.ActionNode, item, index string, options []NodeOption) {
	g.check("the items of node "+name, items)
	body := bounds.node(items.source())
	body.Each, body.Item, body.Index = &pb.MapNode_Action{Action: each}, item, index
	node := &pb.Node{Kind: &pb.Node_Map{Map: body}}
	g.options(name, node, each, options)
	if each.Pivot {
		g.fault("node %s: a pivot is one node, and a map has as many as its list has elements", name)
	}
	g.add(name, node)
}

// MapGraph adds a node that runs a graph for each element of a list, which is its parameters, and gives the list of their
// results.
func MapGraph[P, R any](g *GraphBuilder, name string, graph *Graph[P, R], items Ref[[]P], bounds MapOptions, after ...AnyRef) Ref[[]R] {
	g.check("the items of node "+name, items)
	body := bounds.node(items.source())
	body.Each = &pb.MapNode_Subsaga{Subsaga: &pb.SubsagaNode{Graph: graph.Message()}}
	g.add(name, &pb.Node{Kind: &pb.Node_Map{Map: body}, After: g.after(name, after)})
	return Ref[[]R]{builder: g, node: name}
}

// Delay adds a durable timer.
func Delay(g *GraphBuilder, name string, d time.Duration, after ...AnyRef) Ref[None] {
	node := &pb.Node{Kind: &pb.Node_Delay{Delay: &pb.DelayNode{Duration: durationpb.New(d)}}, After: g.after(name, after)}
	g.add(name, node)
	return Ref[None]{builder: g, node: name}
}

// Signal adds a wait for a signal, whose name is the node's, and gives its payload. A timeout of 0 is none.
func Signal[T any](g *GraphBuilder, name string, timeout time.Duration, after ...AnyRef) Ref[T] {
	return SignalNamed[T](g, name, "", timeout, after...)
}

// SignalNamed is Signal for a signal that has another name than its node.
func SignalNamed[T any](g *GraphBuilder, name, signal string, timeout time.Duration, after ...AnyRef) Ref[T] {
	if signal != "" && !nodeName.MatchString(signal) {
		g.fault("node %s: %q can't be the name of a signal", name, signal)
	}
	body := &pb.SignalNode{Signal: signal, Timeout: positive(timeout)}
	g.add(name, &pb.Node{Kind: &pb.Node_Signal{Signal: body}, After: g.after(name, after)})
	return Ref[T]{builder: g, node: name}
}

func (g *GraphBuilder) after(name string, refs []AnyRef) []string {
	var names []string
	for _, ref := range refs {
		g.check("a node before "+name, ref)
		if ref.name() == "" {
			g.fault("node %s can only come after nodes", name)
			continue
		}
		names = append(names, ref.name())
	}
	return names
}
