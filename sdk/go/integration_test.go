package sagaline_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sagaline "sagaline.dev/sdk/go"
	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// bound of what takes a moment: no test waits for it to be over, however slow the machine.
const bound = 2 * time.Minute

type chargeIn struct {
	Traveller string `json:"traveller"`
	Amount    int    `json:"amount"`
}

type receipt struct {
	Number string `json:"number"`
	Amount int    `json:"amount"`
}

type order struct {
	Traveller string `json:"traveller"`
	Amount    int    `json:"amount"`
}

// unique makes a name that no earlier run against the same SEC has used.
func unique(name string) string { return fmt.Sprintf("%s-%d", name, time.Now().UnixNano()) }

// secAddress is where tests/integration/go_sdk has started a SEC.
func secAddress(t *testing.T) string {
	address := os.Getenv("SAGALINE_SEC")
	if address == "" {
		t.Skip("SAGALINE_SEC names no SEC: tests/integration/go_sdk starts one and runs this")
	}
	return address
}

func serve(t *testing.T, actions ...sagaline.Served) *sagaline.Worker {
	t.Helper()
	worker, err := sagaline.NewWorker(sagaline.WorkerConfig{Addresses: secAddress(t), Actions: actions, Slots: 8})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan error, 1)
	go func() { left <- worker.Run(ctx) }()
	select {
	case <-worker.Ready():
	case <-time.After(bound):
		t.Fatal("no welcome")
	}
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-left:
			if err != nil {
				t.Errorf("the worker ended with %v", err)
			}
		case <-time.After(bound):
			t.Error("the worker did not leave")
		}
	})
	return worker
}

func connect(t *testing.T) (context.Context, *sagaline.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	t.Cleanup(cancel)
	client, err := sagaline.NewClient(sagaline.ClientConfig{Addresses: secAddress(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return ctx, client
}

func TestSagaRunsAndUnwinds(t *testing.T) {
	var undone atomic.Int32
	charge := sagaline.NewAction("go.charge", "1", func(ctx context.Context, in chargeIn) (receipt, error) {
		info := sagaline.InfoFrom(ctx)
		if info.Attempt == 1 {
			return receipt{}, errors.New("the bank does not answer")
		}
		if err := info.Heartbeat("half way"); err != nil {
			return receipt{}, err
		}
		return receipt{info.IdempotencyKey, in.Amount}, nil
	}).WithUndo(func(_ context.Context, u sagaline.Undo[chargeIn, receipt]) error {
		if !u.Known || u.Output.Amount != u.Input.Amount || u.SagaFailure == nil {
			t.Errorf("the undo action was given %+v", u)
		}
		undone.Add(1)
		return nil
	})
	fly := sagaline.NewAction("go.fly", "1", func(_ context.Context, in receipt) (string, error) {
		if in.Amount > 1000 {
			return "", sagaline.Failed("TooDear", "nobody pays that")
		}
		return "flown", nil
	})
	g, params := sagaline.NewGraph[order]("go-trip")
	paid := sagaline.Add(g, "pay", charge, sagaline.With(
		sagaline.Bind(func(in *chargeIn) *string { return &in.Traveller }, sagaline.Field(params, func(o *order) *string { return &o.Traveller })),
		sagaline.Bind(func(in *chargeIn) *int { return &in.Amount }, sagaline.Field(params, func(o *order) *int { return &o.Amount })),
	), sagaline.WithRetry(sagaline.RetryPolicy{InitialBackoff: 10 * time.Millisecond}))
	rested := sagaline.Constant(g, "rest", 1)
	flown := sagaline.Add(g, "fly", fly, sagaline.With(sagaline.From(paid)), sagaline.After(rested))
	graph, err := sagaline.Build(params, flown)
	if err != nil {
		t.Fatal(err)
	}
	ctx, client := connect(t)
	serve(t, charge, fly)
	dear := unique("dear")

	result, err := sagaline.Run(ctx, client, graph, order{"Ada", 10}, sagaline.SagaOptions{})
	if err != nil || result != "flown" {
		t.Fatalf("got %q, %v", result, err)
	}

	_, err = sagaline.Run(ctx, client, graph, order{"Ada", 5000}, sagaline.SagaOptions{ID: dear})
	var unwound *sagaline.UnwoundError
	var why *sagaline.FailureInfo
	if !errors.As(err, &unwound) || !errors.As(err, &why) || why.Type != "TooDear" || unwound.FailedNode != "fly" {
		t.Fatalf("got %v", err)
	}
	if undone.Load() != 1 {
		t.Fatalf("undone %d times", undone.Load())
	}
	var last *pb.LogEntry
	for entry, err := range client.Watch(ctx, dear, 1) {
		if err != nil {
			t.Fatal(err)
		}
		last = entry
	}
	if last.GetSagaFinished() == nil {
		t.Fatalf("the log ends with %v", last)
	}
	if _, err := client.Get(ctx, "nobody"); !errors.Is(err, &sagaline.Error{Reason: sagaline.ReasonSagaNotFound}) {
		t.Fatalf("got %v", err)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	address := secAddress(t)
	act := sagaline.NewAction("go.nothing", "1", func(context.Context, sagaline.None) (sagaline.None, error) { return sagaline.None{}, nil })
	before := runtime.NumGoroutine()
	for range 3 {
		worker, err := sagaline.NewWorker(sagaline.WorkerConfig{Addresses: address, Actions: []sagaline.Served{act}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			<-worker.Ready()
			cancel()
		}()
		if err := worker.Run(ctx); err != nil || worker.Connected() {
			t.Fatalf("it ended with %v, connected: %v", err, worker.Connected())
		}
	}
	end := time.After(bound)
	for look := time.Tick(10 * time.Millisecond); runtime.NumGoroutine() > before; <-look {
		select {
		case <-end:
			t.Fatalf("%d goroutines, and %d before", runtime.NumGoroutine(), before)
		default:
		}
	}
}

func TestSignalAndUnwind(t *testing.T) {
	ctx, client := connect(t)
	g, params := sagaline.NewGraph[sagaline.None]("go-signal")
	word, labels := sagaline.Signal[string](g, "word", 0), map[string]string{"of": unique("signals")}
	graph := sagaline.MustBuild(params, word)
	handle, err := sagaline.Create(ctx, client, graph, sagaline.None{}, sagaline.SagaOptions{Labels: labels})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Signal(ctx, handle.ID(), "word", "go on"); err != nil {
		t.Fatal(err)
	}
	if result, err := handle.Result(ctx); err != nil || result != "go on" {
		t.Fatalf("got %q, %v", result, err)
	}
	waiting, err := sagaline.Create(ctx, client, graph, sagaline.None{}, sagaline.SagaOptions{Labels: labels})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Unwind(ctx, waiting.ID(), sagaline.By{Actor: "test", Reason: "enough"}); err != nil {
		t.Fatal(err)
	}
	if saga, err := client.Wait(ctx, waiting.ID()); err != nil || saga.GetState() != pb.SagaState_SAGA_STATE_UNWOUND {
		t.Fatalf("got %v, %v", saga, err)
	}
	found := 0
	for _, err := range client.List(ctx, &pb.SagaFilter{Labels: labels}) {
		if err != nil {
			t.Fatal(err)
		}
		found++
	}
	if found != 2 {
		t.Fatalf("%d sagas are listed", found)
	}
}

// calls is how many calls of a method the SEC has begun to serve.
func calls(t *testing.T, method string) int {
	t.Helper()
	browser := http.Client{Timeout: bound}
	response, err := browser.Get("http://" + os.Getenv("SAGALINE_METRICS") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	total := 0.0
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "} ")
		if strings.HasPrefix(name, "grpc_server_started_total{") && strings.Contains(name, `grpc_method="`+method+`"`) {
			count, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			total += count
		}
	}
	return int(total)
}

func TestManyRunsAtOnceShareAStreamOfTheSec(t *testing.T) {
	const many = 300
	ctx, client := connect(t)
	gate := make(chan struct{})
	act := sagaline.NewAction("go.shared", "1", func(_ context.Context, in string) (string, error) {
		<-gate
		return in + "!", nil
	})
	graph := echoGraph(t, "go-shared", act, "one", "two")
	serve(t, act)
	alone, streams := calls(t, "RunSaga"), calls(t, "RunSagas")
	go func() {
		// All of them are there at once before the first of them ends.
		filter := &pb.SagaFilter{GraphName: "go-shared"}
		for ctx.Err() == nil {
			counts, err := client.Count(ctx, filter)
			if err != nil || counts[pb.SagaState_SAGA_STATE_RUNNING] == many {
				break
			}
		}
		close(gate)
	}()
	runMany(t, ctx, client, graph, many, "x!!")
	if alone, streams = calls(t, "RunSaga")-alone, calls(t, "RunSagas")-streams; alone != 8 || streams != 1 {
		t.Fatalf("%d calls and %d streams", alone, streams)
	}
}

// runMany runs sagas at the same time, and demands their result.
func runMany(t *testing.T, ctx context.Context, client *sagaline.Client, graph *sagaline.Graph[string, string], count int, want string) {
	t.Helper()
	told := make(chan error, count)
	for range count {
		go func() {
			result, err := sagaline.Run(ctx, client, graph, "x", sagaline.SagaOptions{})
			if err == nil && result != want {
				err = fmt.Errorf("got %q", result)
			}
			told <- err
		}()
	}
	for range count {
		if err := <-told; err != nil {
			t.Fatal(err)
		}
	}
}
