package sagaline

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	"sagaline.dev/sdk/go/internal/engine"
	"sagaline.dev/sdk/go/internal/machine"
	pb "sagaline.dev/sdk/go/sagaline/v1"
)

const (
	dispositionFail  = pb.FailureDisposition_FAILURE_DISPOSITION_FAIL
	dispositionHold  = pb.FailureDisposition_FAILURE_DISPOSITION_HOLD
	dispositionRetry = pb.FailureDisposition_FAILURE_DISPOSITION_RETRY

	fromApplication = pb.FailureSource_FAILURE_SOURCE_APPLICATION
	fromConversion  = pb.FailureSource_FAILURE_SOURCE_CONVERSION
)

// PanicError is the error of user code that panicked. Whether there was an effect is not known.
type PanicError struct {
	Value any
	Stack string
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap is what the code panicked with, if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// call runs user code so that a panic is an error too.
func call(ctx context.Context, run side, invocation *pb.Invocation) (payload *Payload, err error) {
	defer func() {
		if value := recover(); value != nil {
			payload, err = nil, &PanicError{value, string(debug.Stack())}
		}
	}()
	return run(ctx, invocation)
}

// failureOf is what an error that left user code says of its attempt: the table of W26.
func failureOf(ctx context.Context, err error, stacks bool) *pb.Failure {
	var input *inputError
	var output *outputError
	var outcome *Outcome
	var panicked *PanicError
	failure := &pb.Failure{Message: err.Error(), Disposition: dispositionRetry, Source: fromApplication}
	switch {
	case errors.As(err, &panicked):
		failure.Type = "sagaline.Panic"
		if stacks {
			failure.StackTrace = panicked.Stack
		}
	case errors.As(err, &input):
		failure.Type, failure.Disposition, failure.Source = "sagaline.InputNotConvertible", dispositionHold, fromConversion
	case errors.As(err, &output):
		failure.Type, failure.Disposition, failure.Source = "sagaline.OutputNotConvertible", dispositionHold, fromConversion
	case errors.As(err, &outcome):
		return failureTold(outcome)
	case ctx.Err() != nil && isEnd(ctx, err):
		return failureStopped(ctx)
	default:
		failure.Type = typeOf(err)
	}
	return failure
}

// isEnd says whether an error says no more than that the attempt's context is over.
func isEnd(ctx context.Context, err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Cause(ctx))
}

func failureStopped(ctx context.Context) *pb.Failure {
	var stop *engine.StopError
	if !errors.As(context.Cause(ctx), &stop) {
		stop = &engine.StopError{Reason: machine.NotStopped}
	}
	deadline, limited := ctx.Deadline()
	if stop.Reason == machine.TimedOut && limited && !deadline.After(now()) {
		return &pb.Failure{
			Type: "sagaline.StartToCloseTimeout", Message: "it ran longer than its start_to_close",
			Disposition: dispositionRetry, Source: pb.FailureSource_FAILURE_SOURCE_TIMEOUT,
		}
	}
	return &pb.Failure{
		Type: "sagaline.Cancelled", Message: "cancelled: " + stop.Reason.String(),
		Disposition: dispositionRetry, Source: pb.FailureSource_FAILURE_SOURCE_CANCELLED,
	}
}

// failureTold: user code says itself how its attempt ended. An outcome of no known kind says nothing: RETRY.
func failureTold(o *Outcome) *pb.Failure {
	failure := &pb.Failure{Type: o.Type, Message: o.Message, Disposition: dispositionRetry, Source: fromApplication}
	switch o.Kind {
	case KindFailed:
		failure.Disposition = dispositionFail
	case KindHold:
		failure.Disposition = dispositionHold
	case KindRetry:
		if o.Delay > 0 {
			failure.NextRetryDelay = durationpb.New(min(o.Delay, retryDelayMax))
		}
	}
	if o.Cause != nil {
		failure.Cause = &pb.Failure{Type: typeOf(o.Cause), Message: o.Cause.Error()}
	}
	for _, detail := range o.Details {
		if payload, err := EncodePayload(detail); err == nil { // a detail that can't be sent must not hide the outcome
			failure.Details = append(failure.Details, payload)
		}
	}
	return failure
}

// typeOf names the type of an error, without the layers that only add text: "fs.PathError". A plain text is an "error".
func typeOf(err error) string {
	for err != nil {
		typ := reflect.TypeOf(err)
		name := strings.TrimLeft(typ.String(), "*")
		if !strings.HasPrefix(name, "fmt.") && !strings.HasPrefix(name, "errors.") {
			return name
		}
		if many, ok := err.(interface{ Unwrap() []error }); ok && len(many.Unwrap()) > 0 {
			err = many.Unwrap()[0]
		} else {
			err = errors.Unwrap(err)
		}
	}
	return "error"
}

// FailureOf is an outcome as it is sent and stored.
func FailureOf(o *Outcome) *pb.Failure { return failureTold(o) }
