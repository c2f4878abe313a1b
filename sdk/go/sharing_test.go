package sagaline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

const many = 200

type outcome struct {
	id, result string
	err        error
}

// crowd runs sagas at the same time over one client.
type crowd struct {
	*testing.T
	client *Client
	graph  *Graph[string, string]
	told   chan outcome
	runs   int
	closed bool
}

func newCrowd(t *testing.T, addresses string) *crowd {
	t.Helper()
	client, err := NewClient(ClientConfig{Addresses: addresses})
	if err != nil {
		t.Fatal(err)
	}
	g, params := NewGraph[string]("trip")
	act := Declare[string, string]("go.echo", "1")
	graph := MustBuild(params, Add(g, "one", act, With(From(params))))
	c := &crowd{t, client, graph, make(chan outcome, 10*many), 0, false}
	t.Cleanup(c.close)
	return c
}

// crowdAtOne gives a crowd and the SEC that it goes to.
func crowdAtOne(t *testing.T) (*fakeSEC, *crowd) {
	t.Helper()
	sec := newFakeSEC()
	address, _ := serving(t, sec)
	return sec, newCrowd(t, address)
}

func (c *crowd) close() {
	if c.closed {
		return
	}
	c.closed = true
	if err := c.client.Close(); err != nil {
		c.Error(err)
	}
}

// run begins runs of sagas with ids of a prefix and a number.
func (c *crowd) run(ctx context.Context, prefix string, count int) {
	for number := range count {
		id := fmt.Sprintf("%s%d", prefix, number)
		c.runs++
		go func() {
			result, err := Run(ctx, c.client, c.graph, "x", SagaOptions{ID: id})
			c.told <- outcome{id, result, err}
		}()
	}
}

// outcomes waits for some runs.
func (c *crowd) outcomes(count int) (all []outcome) {
	c.Helper()
	end := time.After(wait)
	for range count {
		select {
		case one := <-c.told:
			c.runs--
			all = append(all, one)
		case <-end:
			c.Fatalf("%d of %d runs ended", len(all), count)
		}
	}
	return all
}

// succeed waits for all runs, and demands their results.
func (c *crowd) succeed() {
	c.Helper()
	for _, one := range c.outcomes(c.runs) {
		if one.err != nil || one.result != one.id {
			c.Fatalf("%s got %q, %v", one.id, one.result, one.err)
		}
	}
}

func TestALoneRunHasACallOfItsOwn(t *testing.T) {
	sec := newFakeSEC()
	sec.release()
	address, _ := serving(t, sec)
	c := newCrowd(t, address)
	for number := range 5 {
		c.run(t.Context(), fmt.Sprintf("s%d-", number), 1)
		c.succeed()
	}
	sec.seen(func() {
		if sec.alone != 5 || sec.streams != 0 {
			t.Fatalf("%d calls and %d streams", sec.alone, sec.streams)
		}
	})
}

func TestManyRunsShareOneStream(t *testing.T) {
	sec, c := crowdAtOne(t)
	c.run(t.Context(), "s", many)
	sec.until(t, "all there", func() bool { return len(sec.created) == many })
	sec.release()
	c.succeed()
	c.run(t.Context(), "alone", 1)
	c.succeed()
	sec.seen(func() {
		if sec.alone != aloneMost+1 || sec.streams != 1 || sec.graphs != 1 || len(sec.created) != many+1 {
			t.Fatalf("%d calls, %d streams, %d graphs, %d sagas", sec.alone, sec.streams, sec.graphs, len(sec.created))
		}
	})
	sec.hold()
	c.run(t.Context(), "t", many)
	sec.until(t, "all there", func() bool { return len(sec.created) == 2*many+1 })
	sec.seen(func() {
		if sec.streams != 1 || sec.open != 1 || sec.graphs != 1 {
			t.Fatalf("%d streams, %d graphs: the first one is still open", sec.streams, sec.graphs)
		}
	})
	c.close()
	c.outcomes(c.runs)
}

func TestEachRunOfManyHearsWhatBecameOfItsOwnSaga(t *testing.T) {
	sec := newFakeSEC()
	address, _ := serving(t, sec)
	sec.refuse = func(spec *pb.SagaSpec, inStream bool) *pb.BatchError {
		switch {
		case spec.GetSagaId() == "bad0" && inStream:
			return &pb.BatchError{Code: int32(codes.InvalidArgument), Message: "in a batch"}
		case spec.GetSagaId() == "bad0":
			return &pb.BatchError{Code: int32(codes.InvalidArgument), Message: "alone"}
		}
		return nil
	}
	failure := &pb.Failure{Type: "NoRoom", Message: "full"}
	fine := sec.end
	sec.end = func(id string) *pb.SagaEnd {
		switch id {
		case "unwound0":
			return &pb.SagaEnd{SagaId: id, State: pb.SagaState_SAGA_STATE_UNWOUND, Failure: failure, FailedNode: "one"}
		case "stuck0":
			return &pb.SagaEnd{SagaId: id, State: pb.SagaState_SAGA_STATE_STUCK, Failure: failure, NeedsOperator: true}
		case "gone0":
			return &pb.SagaEnd{SagaId: id, Error: &pb.BatchError{
				Code: int32(codes.NotFound), Reason: ReasonSagaNotFound, Problems: []*pb.FieldProblem{{Field: "f", Message: "m"}},
			}}
		}
		return fine(id)
	}
	c := newCrowd(t, address)
	c.run(t.Context(), "s", aloneMost)
	sec.until(t, "busy", func() bool { return sec.alone == aloneMost })
	for _, prefix := range []string{"bad", "unwound", "stuck", "gone"} {
		c.run(t.Context(), prefix, 1)
	}
	// A second run of a saga that runs goes alone.
	sec.until(t, "there", func() bool { return sec.created["stuck0"] == 1 })
	c.run(t.Context(), "stuck", 1)
	sec.until(t, "there again", func() bool { return sec.created["stuck0"] == 2 })
	sec.release()
	for _, one := range c.outcomes(c.runs) {
		var unwound *UnwoundError
		var stuck *NeedsOperatorError
		var refused *Error
		ok := false
		switch one.id {
		case "bad0":
			ok = errors.As(one.err, &refused) && refused.Code == codes.InvalidArgument && refused.Message == "alone"
		case "unwound0":
			ok = errors.As(one.err, &unwound) && unwound.FailedNode == "one" && unwound.Failure.Type == "NoRoom"
		case "stuck0":
			ok = errors.As(one.err, &stuck) && stuck.SagaID == "stuck0"
		case "gone0":
			ok = errors.As(one.err, &refused) && refused.Reason == ReasonSagaNotFound && refused.Problems["f"] == "m"
		default:
			ok = one.err == nil && one.result == one.id
		}
		if !ok {
			t.Errorf("%s got %q, %v", one.id, one.result, one.err)
		}
	}
}

func TestARunThatIsCancelledLeavesTheOthersAlone(t *testing.T) {
	sec, c := crowdAtOne(t)
	c.run(t.Context(), "s", 20)
	ctx, cancel := context.WithCancel(t.Context())
	c.run(ctx, "t", 20)
	late, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	c.run(late, "u", 20)
	for _, one := range c.outcomes(20) {
		if !errors.Is(one.err, context.DeadlineExceeded) || status.Code(one.err) != codes.DeadlineExceeded || one.id[0] != 'u' {
			t.Fatalf("%s got %v", one.id, one.err)
		}
	}
	sec.until(t, "all there", func() bool {
		return sec.created["s19"] == 1 && sec.created["t19"] == 1
	})
	cancel()
	for _, one := range c.outcomes(20) {
		if !errors.Is(one.err, context.Canceled) || one.id[0] != 't' {
			t.Fatalf("%s got %v", one.id, one.err)
		}
	}
	sec.release()
	c.succeed()
}

func TestClosingTheClientTellsThoseWhoWait(t *testing.T) {
	sec, c := crowdAtOne(t)
	c.run(t.Context(), "s", 20)
	sec.until(t, "all there", func() bool { return len(sec.created) == 20 })
	c.close()
	c.run(t.Context(), "late", 20)
	shared := 0
	for _, one := range c.outcomes(40) {
		if status.Code(one.err) != codes.Canceled {
			t.Fatalf("%s got %v", one.id, one.err)
		}
		if strings.Contains(one.err.Error(), "the client was closed") {
			shared++
		}
	}
	if shared != 20-aloneMost {
		t.Fatalf("%d were told by the stream", shared)
	}
	sec.until(t, "left", func() bool { return sec.open == 0 })
}

func TestAStreamThatNobodyNeedsEnds(t *testing.T) {
	sec, c := crowdAtOne(t)
	c.client.runs.idleTime = time.Millisecond
	for round := 1; round <= 3; round++ {
		sec.hold()
		c.run(t.Context(), fmt.Sprintf("s%d-", round), 20)
		sec.until(t, "all there", func() bool { return len(sec.created) == 20*round })
		sec.release()
		c.succeed()
		sec.until(t, "ended", func() bool { return sec.open == 0 && sec.streams == round })
	}
}

// The SEC ends no stream while it follows a saga, and it does not know that nobody waits for that any more.
func TestASagaThatWasGivenUpHoldsUpNobody(t *testing.T) {
	sec, c := crowdAtOne(t)
	c.client.runs.idleTime = time.Millisecond
	c.run(t.Context(), "s", aloneMost)
	sec.until(t, "busy", func() bool { return sec.alone == aloneMost })
	for round := 1; round <= 3; round++ {
		ctx, cancel := context.WithCancel(t.Context())
		c.run(ctx, fmt.Sprintf("t%d-", round), 20)
		sec.until(t, "all there", func() bool { return len(sec.created) == aloneMost+20*round })
		cancel()
		c.outcomes(20)
		sec.until(t, "ended", func() bool { return sec.ended == round && sec.open == 1 })
	}
	sec.release()
	c.succeed()
}

func TestABrokenStreamCostsNoRunItsEnd(t *testing.T) {
	for _, broken := range [][]breaks{
		{{0, codes.Unavailable}, {1, codes.Unavailable}, {2, codes.Unavailable}},
		{{2, codes.OK}, {1, codes.Internal}, {0, codes.DeadlineExceeded}},
	} {
		sec := newFakeSEC()
		sec.breaks = broken
		address, _ := serving(t, sec)
		c := newCrowd(t, address)
		c.run(t.Context(), "s", many)
		sec.until(t, "all there", func() bool { return len(sec.created) == many })
		sec.release()
		c.succeed()
		sec.seen(func() {
			if sec.streams != 4 || sec.alone != aloneMost || len(sec.followed) == 0 {
				t.Fatalf("%d streams, %d alone, %d followed", sec.streams, sec.alone, len(sec.followed))
			}
		})
	}
}

func TestAnotherSecGoesOnWithTheRuns(t *testing.T) {
	first, second := newFakeSEC(), newFakeSEC()
	second.release()
	firstAddress, server := serving(t, first)
	secondAddress, _ := serving(t, second)
	c := newCrowd(t, firstAddress+","+secondAddress)
	c.run(t.Context(), "s", many)
	first.until(t, "all answered", func() bool { return len(first.created) == many && c.client.runs.progress() == many-aloneMost })
	server.Stop()
	c.succeed()
	second.seen(func() {
		if second.streams != 1 || len(second.followed) != many-aloneMost || len(second.created) != aloneMost {
			t.Fatalf("%d streams, %d followed, %d created", second.streams, len(second.followed), len(second.created))
		}
	})
}

func TestWhereStreamsAreRefusedEveryRunHasACallOfItsOwn(t *testing.T) {
	for _, code := range []codes.Code{codes.PermissionDenied, codes.Unimplemented} {
		sec := newFakeSEC()
		sec.breaks = slices.Repeat([]breaks{{0, code}}, many)
		address, _ := serving(t, sec)
		c := newCrowd(t, address)
		c.run(t.Context(), "s", 20)
		sec.until(t, "alone", func() bool { return sec.alone == 20 })
		sec.release()
		c.succeed()
	}
}

func TestASagaThatCannotBeSentBlamesNobodyElse(t *testing.T) {
	sec, c := crowdAtOne(t)
	c.run(t.Context(), "s", 20)
	sec.until(t, "there", func() bool { return len(sec.created) == 20 })
	c.client.patience = 10 * wait // it is not trying again that tells the runs apart
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	if _, err := Run(ctx, c.client, c.graph, "x", SagaOptions{ID: "\xff"}); status.Code(err) != codes.Internal {
		t.Fatalf("got %v", err)
	}
	sec.release()
	c.succeed()
}

func TestWhenPatienceIsOverEveryRunHearsThatNobodyIsThere(t *testing.T) {
	address, server := serving(t, newFakeSEC())
	server.Stop()
	c := newCrowd(t, address)
	c.client.patience = 300 * time.Millisecond
	c.run(t.Context(), "s", 20)
	for _, one := range c.outcomes(20) {
		if status.Code(one.err) != codes.Unavailable {
			t.Fatalf("%s got %v", one.id, one.err)
		}
	}
}
