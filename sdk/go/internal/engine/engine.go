// Package engine drives the machine of a worker: its streams over gRPC, its clock, and the goroutines of user code.
package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	"sagaline.dev/sdk/go/internal/machine"
	pb "sagaline.dev/sdk/go/sagaline/v1"
)

const callTime = 10 * time.Second // of one ReportResults

// Config is what an engine needs of its worker. All functions but Dial and Run are called one at a time.
type Config struct {
	Fleet *machine.Fleet
	Dial  func(address string) (*grpc.ClientConn, error)
	// Run runs user code, and returns when it has ended.
	Run     func(ctx context.Context, run *Run) machine.Outcome
	Welcome func(machine.Welcomed)
	Logger  *slog.Logger
}

// Engine owns every goroutine of a worker. The machine is touched only with its lock held.
type Engine struct {
	config Config
	ctx    context.Context // of user code: never cancelled as a whole

	mu      sync.Mutex
	links   map[string]*link
	runs    map[machine.Ref]*Run
	timer   *time.Timer
	timerAt time.Time
	done    chan struct{}
	isDone  bool

	streams sync.WaitGroup // links and calls
	tellMu  sync.Mutex     // one callback at a time
}

// Start begins to dial. User code gets the values of ctx, and not its end.
func Start(ctx context.Context, config Config) *Engine {
	e := &Engine{
		config: config,
		ctx:    context.WithoutCancel(ctx),
		links:  map[string]*link{},
		runs:   map[machine.Ref]*Run{},
		done:   make(chan struct{}),
	}
	e.do(config.Fleet.Start)
	return e
}

// Drain begins to leave, or to leave sooner than was said before.
func (e *Engine) Drain(timeout time.Duration) {
	e.do(func(now time.Time) []machine.Effect { return e.config.Fleet.Drain(now, timeout) })
}

// Connected says whether a session is open.
func (e *Engine) Connected() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.config.Fleet.Connected()
}

// Done is closed when the worker has left.
func (e *Engine) Done() <-chan struct{} { return e.done }

// Wait waits for Done and for the end of every stream, and tells what was left behind. What it returns is why the worker
// could not go on, or "".
func (e *Engine) Wait() string {
	<-e.done
	e.streams.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.timer != nil {
		e.timer.Stop()
	}
	running, unacknowledged := e.config.Fleet.LeftBehind()
	for _, ref := range running {
		e.config.Logger.Error("left behind: an attempt still runs, and its outcome will count as unknown", "attempt", ref)
	}
	if unacknowledged > 0 {
		e.config.Logger.Error("left behind: results that no SEC has acknowledged", "count", unacknowledged)
	}
	return e.config.Fleet.Error
}

// do lets something happen to the machine, and does what follows.
func (e *Engine) do(event func(now time.Time) []machine.Effect) {
	e.mu.Lock()
	effects := event(time.Now())
	told := e.apply(effects)
	for _, l := range e.links {
		l.poke()
	}
	if e.config.Fleet.Closed() && !e.isDone {
		e.isDone = true
		close(e.done)
	}
	e.setTimer()
	e.mu.Unlock()
	if len(told) == 0 {
		return
	}
	// Without the lock: a log may be slow, and a user's callback may ask the worker something.
	e.tellMu.Lock()
	defer e.tellMu.Unlock()
	for _, effect := range told {
		switch effect := effect.(type) {
		case machine.Note:
			e.config.Logger.Log(e.ctx, effect.Level, effect.Text, effect.Facts...)
		case machine.Welcomed:
			e.config.Welcome(effect)
		}
	}
}

// apply does what the machine asks for, and returns what is only to be told.
func (e *Engine) apply(effects []machine.Effect) []machine.Effect {
	var told []machine.Effect
	for _, effect := range effects {
		switch effect := effect.(type) {
		case machine.Start:
			e.start(effect.Attempt)
		case machine.Stop:
			if run := e.runs[effect.Ref]; run != nil {
				run.stop(effect.Reason)
			}
		case machine.Connect:
			l := e.links[effect.Address]
			if l == nil {
				l = newLink(e, effect.Address)
				e.links[effect.Address] = l
			}
			l.open(effect.FreshChannel)
		case machine.EndStream:
			if l := e.links[effect.Address]; l != nil {
				l.end(effect)
			}
		case machine.Closed:
			if l := e.links[effect.Address]; l != nil {
				delete(e.links, effect.Address)
				l.hangUp()
			}
		case machine.Call:
			e.streams.Go(func() { e.call(effect) })
		default:
			told = append(told, effect)
		}
	}
	return told
}

// call tells results to a SEC to which there is no stream.
func (e *Engine) call(call machine.Call) {
	acks := e.report(call)
	e.do(func(now time.Time) []machine.Effect { return e.config.Fleet.Called(call.Address, acks, now) })
}

func (e *Engine) report(call machine.Call) []*pb.ResultAck {
	ctx, cancel := context.WithTimeout(e.ctx, callTime)
	defer cancel()
	conn, err := e.config.Dial(call.Address)
	if err == nil {
		defer conn.Close()
		var response *pb.ReportResultsResponse
		if response, err = pb.NewWorkerServiceClient(conn).ReportResults(ctx, call.Request); err == nil {
			return append([]*pb.ResultAck{}, response.GetResultAcks()...)
		}
	}
	e.config.Logger.Info("results were not taken", "address", call.Address, "error", err)
	return nil
}

// setTimer: one timer for all. It may be set too early, which costs a look, and is never set too late.
func (e *Engine) setTimer() {
	at := e.config.Fleet.NextDeadline()
	if at.IsZero() || e.isDone || (!e.timerAt.IsZero() && !at.Before(e.timerAt)) {
		return
	}
	e.timerAt = at
	if e.timer != nil {
		e.timer.Stop()
	}
	e.timer = time.AfterFunc(time.Until(at), func() { e.tick(at) })
}

func (e *Engine) tick(at time.Time) {
	e.do(func(now time.Time) []machine.Effect {
		if e.timerAt.Equal(at) {
			e.timerAt = time.Time{}
		}
		return e.config.Fleet.Tick(now, max(0, now.Sub(at)))
	})
}
