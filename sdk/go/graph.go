package sagaline

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"time"
	"unsafe"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

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
	path := append(append([]string{}, of.path...), name)
	return Ref[F]{of.builder, of.node, path, of.literal}
}

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

// Binding says where one input of an action that takes In comes from.
type Binding[In any] struct {
	inputs map[string]AnyRef
	err    error
}

// Bind gives one field of an action's inputs the value of a Ref of the same type.
//
//	sagaline.Bind(func(in *ChargeIn) *int { return &in.Amount }, amount)
func Bind[In, T any](field func(*In) *T, from Ref[T]) Binding[In] {
	name, err := fieldName(field)
	return Binding[In]{map[string]AnyRef{name: from}, err}
}

// From gives an action all of its input from one Ref: where In is a struct, each input from the field of the same name.
func From[In any](from Ref[In]) Binding[In] {
	shape, err := shapeOf(reflect.TypeFor[In]())
	if !shape.named {
		return Binding[In]{map[string]AnyRef{soleInput: from}, err}
	}
	inputs := map[string]AnyRef{}
	for _, field := range shape.fields {
		inputs[field.name] = Ref[any]{from.builder, from.node, append(append([]string{}, from.path...), field.name), from.literal}
	}
	return Binding[In]{inputs, err}
}

// Add adds a node that runs an action, and gives its output.
func Add[In, Out any](g *GraphBuilder, name string, action *Action[In, Out], inputs []Binding[In], options ...NodeOption) Ref[Out] {
	node := actionNode(action)
	node.Inputs = map[string]*pb.InputSource{}
	for _, binding := range inputs {
		if binding.err != nil {
			g.fault("node %s: %v", name, binding.err)
		}
		for input, ref := range binding.inputs {
			if _, twice := node.Inputs[input]; twice {
				g.fault("node %s: input %s is given twice", name, input)
			}
			g.check("input "+input+" of node "+name, ref)
			node.Inputs[input] = ref.source()
		}
	}
	for _, field := range action.shape.fields {
		if node.Inputs[field.name] == nil && !field.optional {
			g.fault("node %s: input %s of action %s is not given", name, field.name, action.name)
		}
	}
	if !action.shape.named && len(node.Inputs) == 0 {
		g.fault("node %s: the input of action %s is not given", name, action.name)
	}
	message := &pb.Node{Kind: &pb.Node_Action{Action: node}}
	g.options(name, message, node, options)
	g.add(name, message)
	return Ref[Out]{builder: g, node: name}
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

// Subsaga adds a graph as a node.
func Subsaga[P, R any](g *GraphBuilder, name string, graph *Graph[P, R], params Ref[P], after ...AnyRef) Ref[R] {
	g.check("the parameters of node "+name, params)
	node := &pb.Node{Kind: &pb.Node_Subsaga{Subsaga: &pb.SubsagaNode{Graph: graph.Message(), Params: params.source()}}}
	node.After = g.after(name, after)
	g.add(name, node)
	return Ref[R]{builder: g, node: name}
}

// MapOptions bound a map node.
type MapOptions struct {
	// MaxConcurrency: elements that run at once; 0: no limit.
	MaxConcurrency int
	// Canary: so many must succeed before the rest start.
	Canary int
	// MaxFailures: elements that may fail before the node does.
	MaxFailures int
}

// Map adds a node that runs an action for each element of a list, and gives the list of their outputs.
func Map[In, Out any](g *GraphBuilder, name string, action *Action[In, Out], items Ref[[]In], bounds MapOptions, options ...NodeOption) Ref[[]Out] {
	g.check("the items of node "+name, items)
	each := actionNode(action)
	node := &pb.Node{Kind: &pb.Node_Map{Map: &pb.MapNode{
		Items: items.source(), Each: &pb.MapNode_Action{Action: each},
		MaxConcurrency: int32(bounds.MaxConcurrency), Canary: int32(bounds.Canary), MaxFailures: int32(bounds.MaxFailures),
	}}}
	g.options(name, node, each, options)
	g.add(name, node)
	return Ref[[]Out]{builder: g, node: name}
}

// Delay adds a durable timer.
func Delay(g *GraphBuilder, name string, d time.Duration, after ...AnyRef) Ref[None] {
	node := &pb.Node{Kind: &pb.Node_Delay{Delay: &pb.DelayNode{Duration: durationpb.New(d)}}, After: g.after(name, after)}
	g.add(name, node)
	return Ref[None]{builder: g, node: name}
}

// Signal adds a wait for a signal, whose name is the node's, and gives its payload. A timeout of 0 is none.
func Signal[T any](g *GraphBuilder, name string, timeout time.Duration, after ...AnyRef) Ref[T] {
	signal := &pb.SignalNode{}
	if timeout > 0 {
		signal.Timeout = durationpb.New(timeout)
	}
	g.add(name, &pb.Node{Kind: &pb.Node_Signal{Signal: signal}, After: g.after(name, after)})
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

// NodeOption sets a policy of a node.
type NodeOption func(*nodeSettings)

type nodeSettings struct {
	after  []AnyRef
	action *pb.ActionNode
}

func (g *GraphBuilder) options(name string, node *pb.Node, action *pb.ActionNode, options []NodeOption) {
	settings := &nodeSettings{action: action}
	for _, option := range options {
		option(settings)
	}
	node.After = g.after(name, settings.after)
}

// After makes a node wait for others whose output it does not take.
func After(refs ...AnyRef) NodeOption {
	return func(s *nodeSettings) { s.after = append(s.after, refs...) }
}

// RetryPolicy says when an attempt is tried again. Zero fields take their defaults: 5 attempts of an action and no bound
// for an undo action, from 1 s, doubling, to 60 s.
type RetryPolicy struct {
	MaxAttempts                              int
	InitialBackoff, MaxBackoff, TotalTimeout time.Duration
	Multiplier                               float64
	NonRetryableTypes                        []string
}

func (p RetryPolicy) message() *pb.RetryPolicy {
	return &pb.RetryPolicy{
		MaxAttempts: int32(p.MaxAttempts), InitialBackoff: positive(p.InitialBackoff), MaxBackoff: positive(p.MaxBackoff),
		Multiplier: p.Multiplier, TotalTimeout: positive(p.TotalTimeout), NonRetryableFailureTypes: p.NonRetryableTypes,
	}
}

func positive(d time.Duration) *durationpb.Duration {
	if d <= 0 {
		return nil
	}
	return durationpb.New(d)
}

// WithRetry sets when attempts of the action are tried again.
func WithRetry(p RetryPolicy) NodeOption {
	return func(s *nodeSettings) { s.action.Retry = p.message() }
}

// WithUndoRetry sets when attempts of the undo action are tried again.
func WithUndoRetry(p RetryPolicy) NodeOption {
	return func(s *nodeSettings) { s.undo().Retry = p.message() }
}

func (s *nodeSettings) undo() *pb.UndoPolicy {
	if s.action.Undo == nil {
		s.action.Undo = &pb.UndoPolicy{}
	}
	return s.action.Undo
}

// Timeouts of each attempt; zero: none.
type Timeouts struct{ ScheduleToStart, StartToClose, Heartbeat time.Duration }

// WithTimeouts bounds the attempts of the action.
func WithTimeouts(t Timeouts) NodeOption {
	return func(s *nodeSettings) {
		s.action.Timeouts = &pb.Timeouts{
			ScheduleToStart: positive(t.ScheduleToStart), StartToClose: positive(t.StartToClose), Heartbeat: positive(t.Heartbeat),
		}
	}
}

// WithNoUndo says that there is nothing to undo. It is the default of actions that are made here without an undo action.
func WithNoUndo() NodeOption {
	return func(s *nodeSettings) { s.undo().Kind = pb.UndoKind_UNDO_KIND_NOOP }
}

// Irreversible says that the node can't be undone: unwinding past it holds for an operator, or with forwardOnly goes on
// forward instead.
func Irreversible(forwardOnly bool) NodeOption {
	return func(s *nodeSettings) {
		s.undo().Kind = pb.UndoKind_UNDO_KIND_NONE
		s.undo().Irreversible = pb.IrreversiblePolicy_IRREVERSIBLE_POLICY_HOLD
		if forwardOnly {
			s.undo().Irreversible = pb.IrreversiblePolicy_IRREVERSIBLE_POLICY_FORWARD_ONLY
		}
	}
}

// Pivot makes the node the point of no return.
func Pivot() NodeOption {
	return func(s *nodeSettings) {
		s.action.Pivot = true
		s.undo().Kind = pb.UndoKind_UNDO_KIND_NONE
	}
}
