package sagaline

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"regexp"

	"sagaline.dev/sdk/go/internal/machine"
	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Action is an action with its undo action, if it has one: what a worker serves, and what graphs are built of. It is
// immutable; its With methods give copies.
//
// Where In is a struct, its fields are the action's inputs, named by their json tags; any other type, and a pointer to a
// protobuf message, is one input, whatever its name. Out is the output. Protobuf messages go as their bytes, everything
// else as JSON.
type Action[In, Out any] struct {
	name, version string
	run           func(context.Context, In) (Out, error)
	undo          func(context.Context, Undo[In, Out]) error
	shape         shape
	pool          string
	maxInFlight   int
	barrier       pb.BarrierKind
}

// Undo is what an undo action is given.
type Undo[In, Out any] struct {
	// Input of the action.
	Input In
	// Output of the action; the zero value unless Known.
	Output Out
	// Known: the action succeeded. Otherwise no definite answer of it was ever had: it may have run, not have run, or still
	// arrive, and the undo action must cope with each.
	Known bool
	// ActionKey is the idempotency key that every attempt of the action carried: what it did elsewhere can be found by it.
	ActionKey string
	// SagaFailure is why the saga unwinds; nil if that is not told.
	SagaFailure *FailureInfo
}

var actionName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// NewAction makes an action. The context ends when the attempt is to stop: what the function returns then counts all the
// same. With [InfoFrom] it leads to what is known of the attempt. It panics where no graph could name such an action.
func NewAction[In, Out any](name, version string, run func(ctx context.Context, in In) (Out, error)) *Action[In, Out] {
	if version == "" {
		version = "1"
	}
	shape, err := shapeOf(reflect.TypeFor[In]())
	switch {
	case err != nil:
		panic(undefinable("action %s: %v", name, err))
	case !actionName.MatchString(name):
		panic(undefinable("%q can't be the name of an action: 1 to 128 of A-Z a-z 0-9 . _ -", name))
	}
	return &Action[In, Out]{name: name, version: version, run: run, shape: shape}
}

// Declare names an action that is served elsewhere, perhaps in another language, so that graphs can be built of it.
func Declare[In, Out any](name, version string) *Action[In, Out] {
	return NewAction[In, Out](name, version, nil)
}

// WithUndo gives a copy with an undo action. It must be written so that when it returns nil the node is undone, whatever
// of the action happened.
func (a *Action[In, Out]) WithUndo(undo func(ctx context.Context, u Undo[In, Out]) error) *Action[In, Out] {
	c := *a
	c.undo = undo
	return &c
}

// InPool gives a copy that uses a slot pool of its worker.
func (a *Action[In, Out]) InPool(pool string) *Action[In, Out] {
	c := *a
	c.pool = pool
	return &c
}

// WithMaxInFlight gives a copy of which each worker runs so many at once at most.
func (a *Action[In, Out]) WithMaxInFlight(most int) *Action[In, Out] {
	c := *a
	c.maxInFlight = most
	return &c
}

// WithBarrier gives a copy that is told of as protected by a barrier that also keeps tombstones (package barrier).
func (a *Action[In, Out]) WithBarrier() *Action[In, Out] {
	c := *a
	c.barrier = pb.BarrierKind_BARRIER_KIND_TOMBSTONE
	return &c
}

// Name of the action.
func (a *Action[In, Out]) Name() string { return a.name }

// Version of the action.
func (a *Action[In, Out]) Version() string { return a.version }

// Served is an action of any types, as workers take it.
type Served interface {
	Name() string
	Version() string
	spec() *pb.ActionSpec
	sides() (map[machine.Side]side, error)
}

// side runs an action or an undo action: from payloads to an output, or an error.
type side func(ctx context.Context, invocation *pb.Invocation) (*Payload, error)

func (a *Action[In, Out]) spec() *pb.ActionSpec {
	kinds := []pb.InvocationKind{machine.Action}
	if a.undo != nil {
		kinds = append(kinds, machine.Undo)
	}
	return &pb.ActionSpec{
		Action: a.name, Versions: []string{a.version}, Kinds: kinds,
		SlotPool: a.pool, MaxInFlight: int32(a.maxInFlight), Barrier: a.barrier,
		InputTypes: a.shape.types(), OutputType: typeSpec(reflect.TypeFor[Out](), given),
	}
}

func (a *Action[In, Out]) sides() (map[machine.Side]side, error) {
	if a.run == nil {
		return nil, undefinable("action %s is only declared: it has no function that a worker could run", a.name)
	}
	sides := map[machine.Side]side{{Action: a.name, Version: a.version, Kind: machine.Action}: a.runAction}
	if a.undo != nil {
		sides[machine.Side{Action: a.name, Version: a.version, Kind: machine.Undo}] = a.runUndo
	}
	return sides, nil
}

func (a *Action[In, Out]) decode(inputs map[string]*pb.Payload) (in In, err error) {
	if err = a.shape.decode(inputs, reflect.ValueOf(&in).Elem()); err != nil {
		err = &inputError{err}
	}
	return in, err
}

func (a *Action[In, Out]) runAction(ctx context.Context, invocation *pb.Invocation) (*Payload, error) {
	in, err := a.decode(invocation.GetInputs())
	if err != nil {
		return nil, err
	}
	out, err := a.run(ctx, in)
	if err != nil {
		return nil, err
	}
	payload, err := EncodePayload(out)
	if err != nil {
		return nil, &outputError{err}
	}
	return payload, nil
}

func (a *Action[In, Out]) runUndo(ctx context.Context, invocation *pb.Invocation) (*Payload, error) {
	in, err := a.decode(invocation.GetInputs())
	if err != nil {
		return nil, err
	}
	told := invocation.GetUndo()
	u := Undo[In, Out]{
		Input:       in,
		Known:       told.GetActionOutcome() == pb.ActionOutcome_ACTION_OUTCOME_SUCCEEDED,
		ActionKey:   told.GetActionIdempotencyKey(),
		SagaFailure: failureInfo(told.GetSagaFailure()),
	}
	if u.Known {
		if err := DecodePayload(told.GetActionOutput(), &u.Output); err != nil {
			return nil, &inputError{&ConversionError{"the output of the action", err}}
		}
	}
	if err := a.undo(ctx, u); err != nil {
		return nil, err
	}
	return &Payload{Value: &pb.Payload_Json{Json: "null"}}, nil
}

// inputError and outputError say that it was not user code that failed.
type inputError struct{ err error }

func (e *inputError) Error() string { return e.err.Error() }
func (e *inputError) Unwrap() error { return e.err }

type outputError struct{ err error }

func (e *outputError) Error() string { return e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

// catalog is what one worker serves.
type catalog struct {
	sides map[machine.Side]side
	pools map[machine.Side]string
	specs []*pb.ActionSpec
}

func newCatalog(actions []Served, slots map[string]int) (*catalog, error) {
	if len(actions) == 0 || len(actions) > machine.ActionsMax {
		return nil, undefinable("a worker serves 1 to %d actions, not %d", machine.ActionsMax, len(actions))
	}
	c := &catalog{sides: map[machine.Side]side{}, pools: map[machine.Side]string{}}
	for _, action := range actions {
		spec := action.spec()
		if _, known := slots[spec.SlotPool]; !known {
			return nil, undefinable("action %s uses the slot pool %q, which the worker does not have", action.Name(), spec.SlotPool)
		}
		sides, err := action.sides()
		if err != nil {
			return nil, err
		}
		for key := range sides {
			if _, twice := c.sides[key]; twice {
				return nil, undefinable("action %s version %s is given twice", key.Action, key.Version)
			}
			c.pools[key] = spec.SlotPool
		}
		maps.Copy(c.sides, sides)
		c.specs = append(c.specs, spec)
	}
	return c, nil
}

func (a *Action[In, Out]) String() string {
	return fmt.Sprintf("action %s version %s", a.name, a.version)
}
