package machine

import (
	"fmt"
	"log/slog"
	"time"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Sides of a node.
const (
	Action = pb.InvocationKind_INVOCATION_KIND_ACTION
	Undo   = pb.InvocationKind_INVOCATION_KIND_UNDO
)

// Ref names one attempt, on every SEC and every stream.
type Ref struct {
	Saga, Node string
	Kind       pb.InvocationKind
	Attempt    int32
}

// RefOf is the same name as a value that can be a key.
func RefOf(m *pb.InvocationRef) Ref {
	return Ref{m.GetSagaId(), m.GetNode(), m.GetKind(), m.GetAttempt()}
}

func (r Ref) message() *pb.InvocationRef {
	return &pb.InvocationRef{SagaId: r.Saga, Node: r.Node, Kind: r.Kind, Attempt: r.Attempt}
}

func (r Ref) place() place { return place{r.Saga, r.Node} }

func (r Ref) valid() bool { return r.Saga != "" && r.Node != "" && r.Attempt > 0 }

// before says whether a SEC may only ever have sent this attempt before another of the node: undo comes after action.
func (r Ref) before(other Ref) bool {
	if r.Kind != other.Kind {
		return r.Kind < other.Kind
	}
	return r.Attempt < other.Attempt
}

func (r Ref) String() string {
	side := "action"
	if r.Kind == Undo {
		side = "undo"
	}
	return fmt.Sprintf("%s/%s/%s/%d", r.Saga, r.Node, side, r.Attempt)
}

// LogValue puts a name into a log as its parts.
func (r Ref) LogValue() slog.Value {
	return slog.GroupValue(slog.String("saga", r.Saga), slog.String("node", r.Node),
		slog.Bool("undo", r.Kind == Undo), slog.Int("attempt", int(r.Attempt)))
}

// place is what user code runs once at a time for, whatever the side.
type place struct{ saga, node string }

// StopReason is why an attempt was asked to stop.
type StopReason int

// Why an attempt was asked to stop.
const (
	NotStopped StopReason = iota
	SagaUnwinding
	TimedOut
	Superseded
	NotFound
	WorkerStopping
)

var stopReasons = [...]string{"not stopped", "saga unwinding", "timed out", "superseded", "not found", "worker stopping"}

func (r StopReason) String() string { return stopReasons[r] }

// IsAdvice says whether the attempt may as well go on: that a saga unwinds is no reason to tear it down, for what it
// did would then not be known, and the action would have to run again before it could be undone.
func (r StopReason) IsAdvice() bool { return r == SagaUnwinding }

func stopReasonOf(reason pb.CancellationReason) StopReason {
	switch reason {
	case pb.CancellationReason_CANCELLATION_REASON_TIMED_OUT:
		return TimedOut
	case pb.CancellationReason_CANCELLATION_REASON_SUPERSEDED:
		return Superseded
	case pb.CancellationReason_CANCELLATION_REASON_NOT_FOUND:
		return NotFound
	default:
		return SagaUnwinding
	}
}

type attemptState int

const (
	queued  attemptState = iota // waits for a slot or for its node; can still be rejected
	running                     // was handed to user code: only a result can answer it
	ended
)

// Attempt is one attempt that this worker was sent and that has not ended.
type Attempt struct {
	Ref        Ref
	Invocation *pb.Invocation

	pool    string
	sec     string // the SEC that its result goes to: the last that sent or adopted it, or that its saga moved to
	epoch   int64
	state   attemptState
	stopped StopReason
	until   time.Time // when start_to_close is over
}

// ownerOf says whose an attempt is from here on that was this SEC's until now, and under which epoch.
type ownerOf func(ref Ref, present string) (sec string, epoch int64, moved bool)
