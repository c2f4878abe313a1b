package engine

import (
	"context"
	"sync"
	"time"

	"sagaline.dev/sdk/go/internal/machine"
	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// StopError is the cause of the end of an attempt's context.
type StopError struct{ Reason machine.StopReason }

func (e *StopError) Error() string { return "the attempt was asked to stop: " + e.Reason.String() }

// Run is one attempt that was handed to user code.
type Run struct {
	Invocation *pb.Invocation
	// Unwinding is closed when the SEC advises to stop, because the saga unwinds: the attempt may as well go on.
	Unwinding <-chan struct{}

	engine    *Engine
	ref       machine.Ref
	cancel    context.CancelCauseFunc
	unwinding chan struct{}
	advise    sync.Once
}

// Progress tells the SEC that the attempt is alive, with details or without.
func (r *Run) Progress(details *pb.Payload) {
	r.engine.do(func(now time.Time) []machine.Effect {
		return r.engine.config.Fleet.Progress(r.ref, details, now)
	})
}

func (r *Run) stop(reason machine.StopReason) {
	r.advise.Do(func() { close(r.unwinding) })
	if !reason.IsAdvice() {
		r.cancel(&StopError{reason})
	}
}

// start runs user code in a goroutine of its own.
func (e *Engine) start(attempt *machine.Attempt) {
	unwinding := make(chan struct{})
	ctx, cancel := context.WithCancelCause(e.ctx)
	run := &Run{
		Invocation: attempt.Invocation, Unwinding: unwinding,
		engine: e, ref: attempt.Ref, cancel: cancel, unwinding: unwinding,
	}
	e.runs[attempt.Ref] = run
	// The machine stops what runs for too long; the deadline is there for user code to see, and to hand on.
	release := func() {}
	if limit := attempt.Invocation.GetStartToClose(); limit != nil {
		ctx, release = context.WithTimeoutCause(ctx, limit.AsDuration(), &StopError{machine.TimedOut})
	}
	go func() {
		defer cancel(nil)
		defer release()
		e.run(ctx, run)
	}()
}

func (e *Engine) run(ctx context.Context, run *Run) {
	if ctx.Err() != nil {
		e.do(func(now time.Time) []machine.Effect {
			delete(e.runs, run.ref)
			return e.config.Fleet.NotStarted(run.ref, now)
		})
		return
	}
	outcome := machine.Outcome{Failure: &pb.Failure{
		Type: "sagaline.Goexit", Message: "the goroutine of the action was ended with runtime.Goexit",
	}}
	// Deferred, because every attempt that was handed to user code has to be answered, however it ends.
	defer func() {
		e.do(func(now time.Time) []machine.Effect {
			delete(e.runs, run.ref)
			return e.config.Fleet.Finished(run.ref, outcome, now)
		})
	}()
	outcome = e.config.Run(ctx, run)
}
