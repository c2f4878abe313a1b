// Command conformance-worker is what the conformance kit drives: docs/sdk-authors.md says what it serves. It uses the
// SDK as any program would.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	sagaline "sagaline.dev/sdk/go"
	pb "sagaline.dev/sdk/go/sagaline/v1"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	slots, err := strconv.Atoi(os.Getenv("SAGALINE_SLOTS"))
	if err != nil {
		return fmt.Errorf("SAGALINE_SLOTS: %w", err)
	}
	drain, err := strconv.ParseFloat(os.Getenv("SAGALINE_DRAIN_SECONDS"), 64)
	if err != nil {
		return fmt.Errorf("SAGALINE_DRAIN_SECONDS: %w", err)
	}
	file, err := os.OpenFile(os.Getenv("SAGALINE_EFFECTS"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	s := &stage{effects: file, gates: os.Getenv("SAGALINE_GATES")}
	worker, err := sagaline.NewWorker(sagaline.WorkerConfig{
		Addresses:    os.Getenv("SAGALINE_ADDRESS"),
		Slots:        slots,
		DrainTimeout: max(time.Nanosecond, time.Duration(drain*float64(time.Second))),
		BuildID:      os.Getenv("SAGALINE_BUILD_ID"),
		Actions:      actions(s),
	})
	if err != nil {
		return err
	}
	return worker.RunUntilSignal(context.Background())
}

// stage is where effects are noted and gates are looked for.
type stage struct {
	effects *os.File
	gates   string
}

func (s *stage) note(ctx context.Context, event string, told any) {
	info := sagaline.InfoFrom(ctx)
	line := map[string]any{
		"event": event, "action": info.Action, "kind": kind(info), "saga": info.SagaID, "node": info.Node, "attempt": info.Attempt,
	}
	if told != nil {
		line["told"] = told
	}
	text, err := json.Marshal(line)
	if err == nil {
		_, err = s.effects.Write(append(text, '\n'))
	}
	if err != nil {
		log.Fatal(err)
	}
}

func kind(info *sagaline.Info) string {
	if info.IsUndo {
		return "undo"
	}
	return "action"
}

// wait for a gate; what ends it early is a closed channel among the two, and either may be nil.
func (s *stage) wait(gate string, stop, advice <-chan struct{}) (opened bool) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(filepath.Join(s.gates, gate)); err == nil {
			return true
		}
		select {
		case <-tick.C:
		case <-stop:
			return false
		case <-advice:
			return false
		}
	}
}

func (s *stage) gate(ctx context.Context, name string) (string, error) {
	if !s.wait(name, ctx.Done(), nil) {
		return "", ctx.Err()
	}
	return name, nil
}

// action makes an action whose user code is noted, with an undo action that is noted and does nothing else.
func action[In, Out any](s *stage, name string, run func(context.Context, In) (Out, error)) *sagaline.Action[In, Out] {
	return oneSided(s, name, "1", run).WithUndo(undo[In, Out](s, nil))
}

func oneSided[In, Out any](s *stage, name, version string, run func(context.Context, In) (Out, error)) *sagaline.Action[In, Out] {
	return sagaline.NewAction(name, version, func(ctx context.Context, in In) (Out, error) {
		s.note(ctx, "start", nil)
		defer s.note(ctx, "end", nil)
		return run(ctx, in)
	})
}

func undo[In, Out any](s *stage, then func(context.Context) error) func(context.Context, sagaline.Undo[In, Out]) error {
	return func(ctx context.Context, _ sagaline.Undo[In, Out]) error {
		s.note(ctx, "start", nil)
		defer s.note(ctx, "end", nil)
		if then == nil {
			return nil
		}
		return then(ctx)
	}
}

type (
	value struct { // of the graph's, whatever it is
		Value json.RawMessage `json:"value,omitempty"`
	}
	outcome struct {
		Type    string  `json:"type,omitempty"`
		Message string  `json:"message,omitempty"`
		DelayMS float64 `json:"delay_ms,omitempty"`
	}
	named struct {
		Name string `json:"name,omitempty"`
	}
	size struct {
		Bytes int `json:"bytes,omitempty"`
	}
	order struct {
		ID    string `json:"id"`
		Count int    `json:"count"`
	}
	typed struct {
		Order order `json:"order,omitzero"`
	}
	message struct {
		Sec *pb.Sec `json:"sec,omitempty"`
	}
	none = sagaline.None
)

func actions(s *stage) []sagaline.Served {
	version := func(version string) sagaline.Served {
		return oneSided(s, "versioned", version, func(context.Context, none) (string, error) { return version, nil }).
			WithUndo(undo[none, string](s, nil))
	}
	return append(outcomes(s), append(gates(s),
		action(s, "echo", func(_ context.Context, in value) (json.RawMessage, error) { return in.Value, nil }),
		action(s, "big", func(_ context.Context, in size) (string, error) {
			text := make([]byte, in.Bytes)
			for i := range text {
				text[i] = 'x'
			}
			return string(text), nil
		}),
		describe(s),
		action(s, "typed", func(_ context.Context, in typed) (int, error) { return in.Order.Count, nil }),
		action(s, "misfit", func(context.Context, none) (float64, error) { return math.Inf(1), nil }),
		action(s, "flip", func(_ context.Context, in message) (*pb.Sec, error) {
			sec := proto.CloneOf(in.Sec)
			sec.Draining = !sec.GetDraining()
			return sec, nil
		}),
		version("1"),
		version("2"),
		oneSided(s, "one_sided", "1", func(context.Context, none) (none, error) { return none{}, nil }),
	)...)
}

// outcomes are the actions that end in each of the ways that there are.
func outcomes(s *stage) []sagaline.Served {
	return []sagaline.Served{
		action(s, "fail", func(_ context.Context, in outcome) (none, error) {
			return none{}, sagaline.Failed(in.Type, in.Message)
		}),
		action(s, "retry", func(_ context.Context, in outcome) (none, error) {
			return none{}, sagaline.Retry(in.Type, in.Message, time.Duration(in.DelayMS*float64(time.Millisecond)))
		}),
		action(s, "hold", func(_ context.Context, in outcome) (none, error) {
			return none{}, sagaline.Hold(in.Type, in.Message)
		}),
		action(s, "crash", func(_ context.Context, in outcome) (none, error) { return none{}, errors.New(in.Message) }),
		oneSided(s, "crash_undo", "1", func(context.Context, none) (none, error) { return none{}, nil }).
			WithUndo(undo[none, none](s, func(context.Context) error { return errors.New("it can't be undone yet") })),
	}
}

// gates are the actions that wait.
func gates(s *stage) []sagaline.Served {
	gated := func(name string, run func(context.Context, named) (string, error)) *sagaline.Action[named, string] {
		return oneSided(s, name, "1", run).WithUndo(undo[named, string](s, func(ctx context.Context) error {
			_, err := s.gate(ctx, "undo-"+sagaline.InfoFrom(ctx).SagaID)
			return err
		}))
	}
	return []sagaline.Served{
		gated("gate", func(ctx context.Context, in named) (string, error) { return s.gate(ctx, in.Name) }),
		action(s, "stubborn", func(_ context.Context, in named) (string, error) {
			s.wait(in.Name, nil, nil)
			return in.Name, nil
		}),
		action(s, "heeding", func(ctx context.Context, in named) (string, error) {
			if s.wait(in.Name, ctx.Done(), sagaline.InfoFrom(ctx).Unwinding) {
				return in.Name, nil
			}
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			return "", sagaline.Failed("Heeded", "nothing was done yet")
		}),
		action(s, "block", func(_ context.Context, in named) (string, error) {
			for { // a thread that sleeps is as much as a goroutine can hold up
				if _, err := os.Stat(filepath.Join(s.gates, in.Name)); err == nil {
					return in.Name, nil
				}
				time.Sleep(10 * time.Millisecond)
			}
		}),
		action(s, "progress", func(ctx context.Context, in named) (map[string]any, error) {
			info := sagaline.InfoFrom(ctx)
			var last any
			if _, err := info.LastProgress(&last); err != nil {
				return nil, err
			}
			if err := info.Heartbeat(map[string]int{"at": 1}); err != nil {
				return nil, err
			}
			if _, err := s.gate(ctx, in.Name); err != nil {
				return nil, err
			}
			return map[string]any{"last": last}, info.Heartbeat(map[string]int{"at": 2})
		}),
	}
}

func describe(s *stage) sagaline.Served {
	return action(s, "describe", func(ctx context.Context, _ value) (any, error) { return told(ctx, nil), nil }).
		WithUndo(func(ctx context.Context, u sagaline.Undo[value, any]) error {
			undo := map[string]any{"succeeded": u.Known, "output": u.Output, "failure_type": nil, "action_key": u.ActionKey}
			if u.SagaFailure != nil {
				undo["failure_type"] = u.SagaFailure.Type
			}
			s.note(ctx, "start", told(ctx, undo))
			defer s.note(ctx, "end", nil)
			return nil
		})
}

// told is what user code is told of its attempt.
func told(ctx context.Context, undo any) map[string]any {
	info := sagaline.InfoFrom(ctx)
	_, limited := ctx.Deadline()
	return map[string]any{
		"saga": info.SagaID, "node": info.Node, "kind": kind(info), "attempt": info.Attempt,
		"idempotency_key": info.IdempotencyKey,
		"fencing_token":   strconv.FormatInt(info.FencingToken, 10),
		"epoch":           strconv.FormatInt(info.Epoch, 10),
		"labels":          orEmpty(info.Labels), "trace_context": orEmpty(info.TraceContext),
		"has_deadline": limited, "stable_id": info.StableID("x"), "undo": undo,
	}
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
