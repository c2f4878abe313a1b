package sagaline

import (
	"errors"
	"fmt"
	"time"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Outcome is what an action or undo action says of its attempt by returning it as an error, wrapped or not. Make one
// with [Failed], [Retry] or [Hold]. Every other error, and a panic, leaves it unknown whether the attempt had an effect:
// the SEC tries it again with the same idempotency key, or undoes it as unknown.
type Outcome struct {
	// Kind is which of the three it is.
	Kind OutcomeKind
	// Type is a stable name that programs compare, such as "PaymentDeclined".
	Type string
	// Message is for people.
	Message string
	// Delay before the next attempt, for [Retry]; zero: the node's policy decides.
	Delay time.Duration
	// Details are for code; at most 4, of 16 KiB together.
	Details []any
	// Cause is what led to it; errors.Is and errors.As find it.
	Cause error
}

// OutcomeKind tells outcomes apart.
type OutcomeKind int

// The outcomes that user code can ask for.
const (
	KindFailed OutcomeKind = iota + 1
	KindRetry
	KindHold
)

func (k OutcomeKind) String() string {
	switch k {
	case KindFailed:
		return "failed"
	case KindRetry:
		return "retry"
	case KindHold:
		return "hold"
	}
	return fmt.Sprintf("OutcomeKind(%d)", int(k))
}

// Failed says that there was no effect, in this or any earlier attempt: the saga unwinds, and this node is not undone.
// Returned by an undo action it says that it can never succeed, and the saga is stuck until an operator decides.
//
// It is a promise. Where you do not know, return any other error.
func Failed(typ, message string) *Outcome {
	return &Outcome{Kind: KindFailed, Type: typ, Message: message}
}

// Retry says to try again, after a delay if it is not zero. Whether there was an effect is not known.
func Retry(typ, message string, delay time.Duration) *Outcome {
	return &Outcome{Kind: KindRetry, Type: typ, Message: message, Delay: delay}
}

// Hold says that neither a retry nor an undo is right, and that an operator has to look.
func Hold(typ, message string) *Outcome { return &Outcome{Kind: KindHold, Type: typ, Message: message} }

// Error is the type and the message.
func (o *Outcome) Error() string { return o.Type + ": " + o.Message }

// Unwrap is the cause.
func (o *Outcome) Unwrap() error { return o.Cause }

// Is says whether another outcome has the same kind and type, so that outcomes can be compared with errors.Is.
func (o *Outcome) Is(target error) bool {
	other, ok := target.(*Outcome)
	return ok && o.Kind == other.Kind && o.Type == other.Type
}

// WithCause gives a copy that wraps another error.
func (o *Outcome) WithCause(err error) *Outcome {
	c := *o
	c.Cause = err
	return &c
}

// WithDetails gives a copy with details for code.
func (o *Outcome) WithDetails(details ...any) *Outcome {
	c := *o
	c.Details = details
	return &c
}

// ConversionError says that a value does not fit its type, or can't be a payload.
type ConversionError struct {
	// What it is, for example `input "amount"`.
	What string
	Err  error
}

func (e *ConversionError) Error() string { return e.What + ": " + e.Err.Error() }
func (e *ConversionError) Unwrap() error { return e.Err }

// StopReason is why an attempt was asked to stop; [StopReasonOf] finds it.
type StopReason string

// Why an attempt was asked to stop.
const (
	StopUnwinding  StopReason = "saga unwinding"
	StopTimedOut   StopReason = "timed out"
	StopSuperseded StopReason = "superseded"
	StopNotFound   StopReason = "not found"
	StopWorker     StopReason = "worker stopping"
)

// FailureInfo is a failure as it stands in a saga's log.
type FailureInfo struct {
	Type, Message string
	Cause         *FailureInfo
}

func failureInfo(f *pb.Failure) *FailureInfo {
	if f == nil {
		return nil
	}
	return &FailureInfo{f.GetType(), f.GetMessage(), failureInfo(f.GetCause())}
}

func (f *FailureInfo) Error() string { return f.Type + ": " + f.Message }

// Unwrap is the failure that led to this one.
func (f *FailureInfo) Unwrap() error {
	if f.Cause == nil {
		return nil
	}
	return f.Cause
}

// DefinitionError says that an action, a graph or a worker can't be as it was asked for.
type DefinitionError struct{ Problem string }

func (e *DefinitionError) Error() string { return "sagaline: " + e.Problem }

func undefinable(format string, args ...any) error {
	return &DefinitionError{fmt.Sprintf(format, args...)}
}

// ErrReplaced is why [Worker.Run] ends although nobody asked it to: another process uses this worker's id.
var ErrReplaced = errors.New("sagaline: the worker was replaced by another process that uses its id")
