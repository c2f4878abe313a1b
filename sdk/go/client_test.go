package sagaline_test

import (
	"context"
	"errors"
	"testing"

	sagaline "sagaline.dev/sdk/go"
	pb "sagaline.dev/sdk/go/sagaline/v1"
)

var operator = sagaline.By{Actor: "ada", Reason: "a test"}

// echoGraph has one action after another.
func echoGraph(t *testing.T, name string, act *sagaline.Action[string, string], nodes ...string) *sagaline.Graph[string, string] {
	t.Helper()
	g, params := sagaline.NewGraph[string](name)
	last := params
	for _, node := range nodes {
		last = sagaline.Add(g, node, act, sagaline.With(sagaline.From(last)))
	}
	graph, err := sagaline.Build(params, last)
	if err != nil {
		t.Fatal(err)
	}
	return graph
}

func begin[R any](t *testing.T, ctx context.Context, client *sagaline.Client, graph *sagaline.Graph[string, R], o sagaline.SagaOptions) *sagaline.Handle[R] {
	t.Helper()
	handle, err := sagaline.Create(ctx, client, graph, "x", o)
	if err != nil {
		t.Fatal(err)
	}
	return handle
}

// must is for calls of which only the error matters.
func must[T any](t *testing.T) func(value T, err error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func TestPauseStepsAndBreakpoints(t *testing.T) {
	ctx, client := connect(t)
	act := sagaline.NewAction("go.step", "1", func(_ context.Context, in string) (string, error) { return in + "!", nil })
	graph := echoGraph(t, "go-steps", act, "one", "two", "three")
	serve(t, act)
	saga, pass := must[*pb.Saga](t), begin(t, ctx, client, graph, sagaline.SagaOptions{StartPaused: true})
	if held := saga(client.Get(ctx, pass.ID())); !held.GetPaused() {
		t.Fatalf("got %v", held)
	}
	saga(client.SetBreakpoints(ctx, pass.ID(), []*pb.Breakpoint{{Node: "two", Kind: pb.InvocationKind_INVOCATION_KIND_ACTION}}, operator))
	saga(client.Resume(ctx, pass.ID(), operator))
	saga(client.Step(ctx, pass.ID(), 1, operator))
	if result, err := pass.Result(ctx); err != nil || result != "x!!!" {
		t.Fatalf("got %q, %v", result, err)
	}
	// A saga that has ended is not to be stepped any more.
	if _, err := client.Step(ctx, pass.ID(), 1, operator); !errors.Is(err, &sagaline.Error{Reason: sagaline.ReasonSagaFinished}) {
		t.Fatalf("got %v", err)
	}
	var entries int64
	for entry, err := range client.Log(ctx, pass.ID(), 1) {
		if entries++; err != nil || entry.GetSeq() != entries {
			t.Fatalf("got %v, %v", entry, err)
		}
	}
	record := must[*pb.SagaRecord](t)(client.Record(ctx, pass.ID()))
	if entries < 7 || record.GetSpec().GetGraph().GetName() != "go-steps" {
		t.Fatalf("%d entries, and %v", entries, record)
	}
}

func TestASagaThatNeedsAnOperator(t *testing.T) {
	ctx, client := connect(t)
	act := sagaline.NewAction("go.held", "1", func(context.Context, string) (string, error) {
		return "", sagaline.Hold("Odd", "somebody must look")
	})
	serve(t, act)
	handle := begin(t, ctx, client, echoGraph(t, "go-held", act, "held"), sagaline.SagaOptions{})
	_, err := handle.Result(ctx)
	var held *sagaline.NeedsOperatorError
	if !errors.As(err, &held) || held.SagaID != handle.ID() {
		t.Fatalf("got %v", err)
	}
	supply := pb.Resolution_RESOLUTION_SUPPLY_OUTPUT
	seen := must[*pb.Saga](t)(client.Get(ctx, handle.ID())).GetLogLength()
	_, err = client.ResolveIfUnchanged(ctx, handle.ID(), "held", seen-1, supply, "by hand", operator)
	if !errors.Is(err, &sagaline.Error{Reason: sagaline.ReasonSagaChanged}) {
		t.Fatalf("decided on old news: %v", err)
	}
	must[*pb.Saga](t)(client.ResolveIfUnchanged(ctx, handle.ID(), "held", seen, supply, "by hand", operator))
	if result, err := handle.Result(ctx); err != nil || result != "by hand" {
		t.Fatalf("got %q, %v", result, err)
	}
}

func TestCountsAndBatches(t *testing.T) {
	ctx, client := connect(t)
	g, params := sagaline.NewGraph[string]("go-batch")
	graph := sagaline.MustBuild(params, sagaline.Signal[string](g, "never", 0))
	labels := map[string]string{"batch": unique("batch")}
	filter := &pb.SagaFilter{Labels: labels}
	var handles []*sagaline.Handle[string]
	for range 3 {
		handles = append(handles, begin(t, ctx, client, graph, sagaline.SagaOptions{Labels: labels, Scopes: []string{"rack/7"}}))
	}
	explained := must[*pb.ExplainSagaResponse](t)(client.Explain(ctx, handles[0].ID()))
	if len(explained.GetWaits()) != 1 || explained.GetWaits()[0].GetReason() != pb.WaitReason_WAIT_REASON_EVENT {
		t.Fatalf("got %v", explained)
	}
	counts := must[map[pb.SagaState]int64](t)(client.Count(ctx, filter))
	if len(counts) != 1 || counts[pb.SagaState_SAGA_STATE_RUNNING] != 3 {
		t.Fatalf("got %v", counts)
	}
	if paused := must[*pb.Saga](t)(client.Pause(ctx, handles[0].ID(), operator)); !paused.GetPaused() {
		t.Fatalf("got %v", paused)
	}
	done := 0
	for page, err := range client.BatchControl(ctx, filter, pb.BatchControl_BATCH_CONTROL_UNWIND, operator) {
		if err != nil || len(page.GetRefused()) > 0 {
			t.Fatalf("got %v, %v", page, err)
		}
		done += len(page.GetSagaIds())
	}
	for _, handle := range handles {
		if saga, err := client.Wait(ctx, handle.ID()); err != nil || saga.GetState() != pb.SagaState_SAGA_STATE_UNWOUND {
			t.Fatalf("got %v, %v", saga, err)
		}
	}
	if done != 3 {
		t.Fatalf("%d obeyed", done)
	}
}

func TestWhatOperatorsUse(t *testing.T) {
	ctx, client := connect(t)
	limit := must[*pb.Limit](t)
	two, often := int32(2), 0.5
	if got := limit(client.SetScopeLimit(ctx, "rack/go", sagaline.ScopeLimit{MaxRunning: &two})); got.GetMaxRunning() != 2 || got.MaxFailing != nil {
		t.Fatalf("got %v", got)
	}
	limit(client.SetActionLimit(ctx, "go.limited", sagaline.ActionLimit{StartsPerSecond: &often}))
	if limits := must[[]*pb.Limit](t)(client.Limits(ctx)); len(limits) != 2 {
		t.Fatalf("got %v", limits)
	}
	limit(client.SetScopeLimit(ctx, "rack/go", sagaline.ScopeLimit{}))
	limit(client.SetActionLimit(ctx, "go.limited", sagaline.ActionLimit{}))
	if limits := must[[]*pb.Limit](t)(client.Limits(ctx)); len(limits) != 0 {
		t.Fatalf("got %v", limits)
	}
	points := must[[]*pb.ActionBreakpoint](t)
	must[*pb.ActionBreakpoint](t)(client.SetActionBreakpoint(ctx, "go.limited", pb.InvocationKind_INVOCATION_KIND_UNDO, operator))
	if got := points(client.ActionBreakpoints(ctx)); len(got) != 1 || got[0].GetAction() != "go.limited" || got[0].GetActor() != "ada" {
		t.Fatalf("got %v", got)
	}
	if err := client.ClearActionBreakpoint(ctx, "go.limited"); err != nil {
		t.Fatal(err)
	}
	if got := points(client.ActionBreakpoints(ctx)); len(got) != 0 {
		t.Fatalf("got %v", got)
	}
	if secs := must[[]*pb.SecStatus](t)(client.SECs(ctx)); len(secs) != 1 {
		t.Fatalf("got %v", secs)
	}
	act := sagaline.NewAction("go.seen", "1", func(_ context.Context, in string) (string, error) { return in, nil })
	serve(t, act)
	seen := false
	for _, worker := range must[[]*pb.WorkerStatus](t)(client.Workers(ctx)) {
		seen = seen || (worker.GetConnected() && worker.GetActions()[0].GetAction() == "go.seen")
	}
	if !seen {
		t.Fatal("the worker is not listed")
	}
	handle := begin(t, ctx, client, echoGraph(t, "go-aside", act, "one"), sagaline.SagaOptions{StartPaused: true})
	saga := must[*pb.Saga](t)
	if got := saga(client.Quarantine(ctx, handle.ID(), operator)); got.GetState() != pb.SagaState_SAGA_STATE_QUARANTINED {
		t.Fatalf("got %v", got)
	}
	saga(client.Release(ctx, handle.ID(), operator))
	saga(client.Resume(ctx, handle.ID(), operator))
	if result, err := handle.Result(ctx); err != nil || result != "x" {
		t.Fatalf("got %q, %v", result, err)
	}
	if _, err := client.HandOff(ctx, "nobody", ""); !errors.Is(err, &sagaline.Error{Reason: sagaline.ReasonSagaNotFound}) {
		t.Fatalf("got %v", err)
	}
	var refused *sagaline.Error
	if err := client.DrainSEC(ctx, "nobody", 0); !errors.As(err, &refused) {
		t.Fatalf("got %v", err)
	}
	_, err := client.InjectFault(ctx, handle.ID(), "one", pb.FaultKind_FAULT_KIND_ACTION_ERROR, 1, operator)
	if !errors.As(err, &refused) || refused.Reason == "" {
		t.Fatalf("got %v", err)
	}
}
