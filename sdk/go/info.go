package sagaline

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"time"

	"sagaline.dev/sdk/go/internal/engine"
	"sagaline.dev/sdk/go/internal/machine"
	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Info is what an action or undo action can know of its attempt; [InfoFrom] gets it from the context. Whoever tests an
// action without a worker makes one and puts it in with [WithInfo].
type Info struct {
	SagaID string
	// Node has the subsagas it is in: "server/pick".
	Node string
	// IsUndo: the undo action runs.
	IsUndo bool
	// Attempt counts from 1.
	Attempt         int
	Action, Version string
	// IdempotencyKey is the same for every attempt of this side of this node, for ever: pass it to third-party APIs.
	IdempotencyKey string
	// FencingToken grows with every attempt, action before undo, across SECs: it lets your stores refuse older writers.
	FencingToken int64
	// Epoch of the saga's ownership.
	Epoch int64
	// HeartbeatTimeout is how often Heartbeat must be called; zero: never.
	HeartbeatTimeout time.Duration
	// Labels of the saga, and the W3C trace context to make spans below.
	Labels, TraceContext map[string]string
	// Unwinding is closed when the saga begins to unwind. That is an advice: the attempt may as well go on, for what it
	// does will be undone; one that is certain to have had no effect may end early with [Failed].
	Unwinding <-chan struct{}

	inputs       map[string]*pb.Payload
	lastProgress *pb.Payload
	progress     func(*pb.Payload)
}

type infoKey struct{}

// InfoFrom gives what is known of the attempt that runs with a context, or nil where none does.
func InfoFrom(ctx context.Context) *Info {
	info, _ := ctx.Value(infoKey{}).(*Info)
	return info
}

// WithInfo gives a context as actions have it.
func WithInfo(ctx context.Context, info *Info) context.Context {
	return context.WithValue(ctx, infoKey{}, info)
}

func infoOf(run *engine.Run) *Info {
	inv := run.Invocation
	return &Info{
		SagaID: inv.GetRef().GetSagaId(), Node: inv.GetRef().GetNode(), Attempt: int(inv.GetRef().GetAttempt()),
		IsUndo: inv.GetRef().GetKind() == machine.Undo,
		Action: inv.GetAction(), Version: inv.GetVersion(),
		IdempotencyKey: inv.GetIdempotencyKey(), FencingToken: inv.GetFencingToken(), Epoch: inv.GetEpoch(),
		HeartbeatTimeout: inv.GetHeartbeatTimeout().AsDuration(),
		Labels:           inv.GetLabels(), TraceContext: inv.GetTraceContext(),
		Unwinding: run.Unwinding, inputs: inv.GetInputs(), lastProgress: inv.GetLastProgress(), progress: run.Progress,
	}
}

// Heartbeat reports that the attempt is alive and how far it is. It is cheap, and good from any goroutine; calls in quick
// succession are sent as one.
//
// What it is given, the next attempt finds in LastProgress, should this one not succeed; nil lets earlier details stand.
func (i *Info) Heartbeat(details any) error {
	var payload *pb.Payload
	if details != nil {
		var err error
		if payload, err = EncodePayload(details); err != nil {
			return err
		}
	}
	if i.progress != nil {
		i.progress(payload)
	}
	return nil
}

// LastProgress decodes what an earlier attempt reported last, and says whether one did.
func (i *Info) LastProgress(into any) (bool, error) {
	if i.lastProgress == nil {
		return false, nil
	}
	return true, DecodePayload(i.lastProgress, into)
}

// Inputs are the named inputs as they came: the same bytes in every attempt of a node.
func (i *Info) Inputs() map[string]*Payload { return i.inputs }

// WithInputs gives a copy with other inputs, for tests.
func (i *Info) WithInputs(inputs map[string]*Payload) *Info {
	c := *i
	c.inputs = inputs
	return &c
}

// StableID is an id that is the same in every attempt of this node, action and undo action alike, in every language: a
// UUID of version 5. Make what you create with it, and an attempt that comes again finds what the first one made.
func (i *Info) StableID(name string) string {
	space, _ := hex.DecodeString("81a05ee2a37c5762a96f1edde0101c46")
	hash := sha1.New()
	hash.Write(space)
	hash.Write([]byte(i.SagaID + "\n" + i.Node + "\n" + name))
	id := hash.Sum(nil)[:16]
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	return formatUUID(id)
}

func formatUUID(id []byte) string {
	text := hex.EncodeToString(id)
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// StopReasonOf says why a context of an attempt was cancelled; "" while it is not.
func StopReasonOf(ctx context.Context) StopReason {
	var stop *engine.StopError
	if errors.As(context.Cause(ctx), &stop) {
		return StopReason(stop.Reason.String())
	}
	if info := InfoFrom(ctx); info != nil && info.Unwinding != nil {
		select {
		case <-info.Unwinding:
			return StopUnwinding
		default:
		}
	}
	return ""
}
