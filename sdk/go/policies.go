package sagaline

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

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

// Unbounded is a number of attempts: as many as it takes.
const Unbounded = -1

// RetryPolicy says when an attempt is tried again. Zero fields take their defaults: 5 attempts of an action and no bound
// for an undo action, from 1 s, doubling, to 60 s.
type RetryPolicy struct {
	// MaxAttempts counts the first one too; Unbounded: as many as it takes.
	MaxAttempts                              int
	InitialBackoff, MaxBackoff, TotalTimeout time.Duration
	Multiplier                               float64
	// Jitter is the share of each delay that is random, 0 to 1; nil: 0.2.
	Jitter            *float64
	NonRetryableTypes []string
}

func (p RetryPolicy) message() *pb.RetryPolicy {
	return &pb.RetryPolicy{
		MaxAttempts: int32(p.MaxAttempts), InitialBackoff: positive(p.InitialBackoff), MaxBackoff: positive(p.MaxBackoff),
		Multiplier: p.Multiplier, Jitter: p.Jitter, TotalTimeout: positive(p.TotalTimeout), NonRetryableFailureTypes: p.NonRetryableTypes,
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
		s.action.Undo = &pb.UndoPolicy{Kind: pb.UndoKind_UNDO_KIND_ACTION}
	}
	return s.action.Undo
}

// Timeouts of each attempt; zero: none.
type Timeouts struct{ ScheduleToStart, StartToClose, Heartbeat time.Duration }

func (t Timeouts) message() *pb.Timeouts {
	return &pb.Timeouts{
		ScheduleToStart: positive(t.ScheduleToStart), StartToClose: positive(t.StartToClose), Heartbeat: positive(t.Heartbeat),
	}
}

// WithTimeouts bounds the attempts of the action.
func WithTimeouts(t Timeouts) NodeOption {
	return func(s *nodeSettings) { s.action.Timeouts = t.message() }
}

// WithUndoTimeouts bounds the attempts of the undo action.
func WithUndoTimeouts(t Timeouts) NodeOption {
	return func(s *nodeSettings) { s.undo().Timeouts = t.message() }
}

// UnknownPolicy says what to do with a node whose outcome stays unknown.
type UnknownPolicy int

const (
	// RetryThenUndo sends the action again until the answer is definite or attempts run out, and then undoes it as unknown.
	// That is the default.
	RetryThenUndo = UnknownPolicy(pb.UnknownPolicy_UNKNOWN_POLICY_RETRY_THEN_UNDO)
	// UndoUnknown undoes it as unknown at once.
	UndoUnknown = UnknownPolicy(pb.UnknownPolicy_UNKNOWN_POLICY_UNDO)
	// HoldUnknown tries it again, and holds it for an operator when attempts run out.
	HoldUnknown = UnknownPolicy(pb.UnknownPolicy_UNKNOWN_POLICY_HOLD)
)

// WithUnknown sets what happens while the outcome stays unknown.
func WithUnknown(p UnknownPolicy) NodeOption {
	return func(s *nodeSettings) { s.action.UnknownPolicy = pb.UnknownPolicy(p) }
}

// WithUndo says that the node is undone by the action's undo action, which is the default of actions that have one or are
// only declared.
func WithUndo() NodeOption {
	return func(s *nodeSettings) { s.undo().Kind = pb.UndoKind_UNDO_KIND_ACTION }
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

// Pivot makes the node the point of no return: it is never undone.
func Pivot() NodeOption {
	return func(s *nodeSettings) {
		s.action.Pivot = true
		s.action.Undo = nil
	}
}
