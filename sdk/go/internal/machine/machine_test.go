package machine

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

const (
	recorded = pb.ResultStatus_RESULT_STATUS_RECORDED
	notOwner = pb.ResultStatus_RESULT_STATUS_NOT_OWNER
	retry    = pb.ResultStatus_RESULT_STATUS_RETRY
)

func TestHelloThenWorkThenAcknowledgement(t *testing.T) {
	d := newDesk(t, 4, "a:1")
	hello := d.welcome("a:1", "a", "a")
	if hello.GetStreamEpoch() != 1 || !hello.GetInFlight().GetComplete() || hello.GetCapacity().GetMaxInFlightByPool()[""] != 4 {
		t.Fatalf("hello: %v", hello)
	}
	r := ref("s", Action, 1)
	d.send("a:1", invocations(1, r))
	d.send("a:1", invocations(1, r)) // W20: attached
	d.finish(r, success)
	frame := d.pull("a:1")
	if d.runs[r] != 1 || len(frame.GetResults()) != 1 || frame.GetAckSequence() != 3 {
		t.Fatalf("runs %d, frame %v", d.runs[r], frame)
	}
	d.send("a:1", &pb.ConnectResponse{ResultAcks: []*pb.ResultAck{ack(r, recorded)}})
	if d.fleet.holdings.busy() {
		t.Fatal("it is still held")
	}
}

func TestResultsThatAreReadyShareAFrame(t *testing.T) { // W8
	d := newDesk(t, 3, "a:1")
	d.welcome("a:1", "a")
	one, two := ref("s1", Action, 1), ref("s2", Action, 1)
	unserved := invocation(ref("s3", Action, 1), 1)
	unserved.Action = "nobody's"
	d.send("a:1", invocations(1, one, two))
	d.pull("a:1")
	d.finish(one, success)
	if s := d.session("a:1"); s.Queued() != 1 || !s.HasFrame() {
		t.Fatalf("%d queued: a lone result has a frame at once", s.Queued())
	}
	d.finish(two, success)
	d.send("a:1", &pb.ConnectResponse{Invocations: []*pb.Invocation{unserved}})
	queued := d.session("a:1").Queued()
	frame := d.session("a:1").NextFrame(d.now)
	if queued != 3 || len(frame.GetResults()) != 2 || len(frame.GetRejections()) != 1 {
		t.Fatalf("%d queued, and %v", queued, frame)
	}
	d.do(d.fleet.Written(d.now))
	if left := d.session("a:1").Queued(); left != 0 {
		t.Fatalf("%d are left", left)
	}
}

func TestResultsAreSentAgainOnEveryStreamUntilTheirFinalAcknowledgement(t *testing.T) { // W27
	d := newDesk(t, 4, "a:1")
	d.welcome("a:1", "a", "a")
	one, two := ref("s", Action, 1), ref("t", Action, 1)
	d.send("a:1", invocations(1, one, two))
	d.finish(two, success)
	d.pull("a:1")
	d.end("a:1", "broken")
	d.wait(200 * time.Millisecond)
	d.finish(one, success)
	hello := d.welcome("a:1", "a", "a")
	if len(hello.GetInFlight().GetEntries()) != 2 || hello.GetStreamEpoch() != 2 {
		t.Fatalf("hello: %v", hello)
	}
	results := d.pull("a:1").GetResults()
	if len(results) != 2 || RefOf(results[0].GetRef()) != two || RefOf(results[1].GetRef()) != one {
		t.Fatalf("results: %v", results)
	}
	d.send("a:1", &pb.ConnectResponse{ResultAcks: []*pb.ResultAck{ack(one, retry), ack(two, 99)}})
	if got := d.pull("a:1").GetResults(); len(got) != 0 {
		t.Fatalf("sent again at once: %v", got)
	}
	d.wait(1100 * time.Millisecond)
	if got := d.pull("a:1").GetResults(); len(got) != 2 {
		t.Fatalf("sent again: %v", got)
	}
}

func TestRefusals(t *testing.T) {
	cases := map[string]struct {
		before []*pb.ConnectResponse
		frame  *pb.ConnectResponse
		reason pb.RejectionReason
	}{
		"an unknown action": {
			frame: &pb.ConnectResponse{Invocations: []*pb.Invocation{
				{Ref: ref("s", Action, 1).message(), Action: "other", Version: "1", Epoch: 1},
			}},
			reason: unknownAction,
		},
		"an unknown kind": {
			frame:  &pb.ConnectResponse{Invocations: []*pb.Invocation{{Ref: ref("s", 7, 1).message(), Action: "act", Epoch: 1}}},
			reason: unknownAction,
		},
		"a lower epoch, of another node's undo": { // W21
			before: []*pb.ConnectResponse{{SagaMoves: []*pb.SagaMoved{{SagaId: "s", Epoch: 3}}}},
			frame:  invocations(2, ref("s", Undo, 1)),
			reason: staleEpoch,
		},
		"more than slots and excess": { // W16
			before: []*pb.ConnectResponse{invocations(1, ref("t", Action, 1), ref("u", Action, 1), ref("v", Action, 1))},
			frame:  invocations(1, ref("s", Action, 1)),
			reason: noCapacity,
		},
		"an earlier attempt": { // W22
			before: []*pb.ConnectResponse{invocations(1, ref("s", Undo, 1))},
			frame:  invocations(1, ref("s", Action, 2)),
			reason: staleEpoch,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, 2, "a:1")
			d.welcome("a:1", "a", "a")
			for _, frame := range c.before {
				d.send("a:1", frame)
			}
			d.send("a:1", c.frame)
			got := d.pull("a:1").GetRejections()
			if len(got) != 1 || got[0].GetReason() != c.reason {
				t.Fatalf("rejections: %v", got)
			}
		})
	}
}

func TestRejectionsAreKeptUntilAHeartbeatIsEchoed(t *testing.T) { // W33
	d := newDesk(t, 1, "a:1")
	d.welcome("a:1", "a", "a")
	d.send("a:1", invocations(1, ref("s", 7, 1)))
	d.pull("a:1")
	d.end("a:1", "broken")
	d.wait(200 * time.Millisecond)
	hello := d.welcome("a:1", "a", "a")
	if entries := hello.GetInFlight().GetEntries(); len(entries) != 1 || entries[0].GetState() != pb.InFlightState_IN_FLIGHT_STATE_QUEUED {
		t.Fatalf("hello: %v", hello)
	}
	if got := d.pull("a:1").GetRejections(); len(got) != 1 {
		t.Fatalf("rejections: %v", got)
	}
	d.wait(5 * time.Second)
	beat := d.pull("a:1").GetHeartbeat().GetNonce()
	d.send("a:1", &pb.ConnectResponse{HeartbeatNonce: beat})
	if d.fleet.holdings.rejections.held.len() != 0 {
		t.Fatal("it is still held")
	}
}

func TestALaterAttemptWaitsForTheEndOfTheEarlier(t *testing.T) { // W22
	d := newDesk(t, 4, "a:1")
	d.welcome("a:1", "a", "a")
	one, two, undo := ref("s", Action, 1), ref("s", Action, 2), ref("s", Undo, 1)
	d.send("a:1", invocations(1, one))
	d.send("a:1", invocations(1, two))
	if len(d.stops[one]) != 1 || d.stops[one][0] != Superseded || d.runs[two] != 0 {
		t.Fatalf("stops %v", d.stops)
	}
	d.finish(one, success)
	if got := d.pull("a:1").GetRejections(); len(got) != 1 || d.runs[two] != 0 {
		t.Fatalf("the node's answer is known, and yet: %v", got)
	}
	d.send("a:1", invocations(1, ref("s", Action, 3)))
	d.send("a:1", invocations(1, undo))
	d.finish(ref("s", Action, 3), success)
	if d.runs[undo] != 1 {
		t.Fatal("the undo action did not run")
	}
}

func TestCancellation(t *testing.T) {
	d := newDesk(t, 1, "a:1")
	d.welcome("a:1", "a", "a")
	runs, waits, nobody := ref("s", Action, 1), ref("t", Action, 1), ref("u", Action, 1)
	frame := invocations(1, runs, waits) // W11: cancellations may share the frame
	for _, r := range []Ref{runs, waits, nobody} {
		frame.Cancellations = append(frame.Cancellations, &pb.Cancellation{Ref: r.message(), Reason: pb.CancellationReason_CANCELLATION_REASON_TIMED_OUT})
	}
	d.send("a:1", frame)
	answer := d.pull("a:1")
	if len(d.stops[runs]) != 1 || len(answer.GetRejections()) != 1 || RefOf(answer.GetRejections()[0].GetRef()) != waits {
		t.Fatalf("stops %v, frame %v", d.stops, answer)
	}
	if entries := answer.GetInFlight().GetEntries(); len(entries) != 1 || entries[0].GetState() != pb.InFlightState_IN_FLIGHT_STATE_NOT_HELD {
		t.Fatalf("W40: %v", answer.GetInFlight())
	}
	d.finish(runs, success)
	if got := d.pull("a:1").GetResults(); len(got) != 1 || got[0].GetOutput() == nil {
		t.Fatalf("W46: %v", got)
	}
}

func TestStartToCloseIsWatchedHere(t *testing.T) { // W24
	d := newDesk(t, 1, "a:1")
	d.welcome("a:1", "a", "a")
	r := ref("s", Action, 1)
	frame := invocations(1, r)
	frame.Invocations[0].StartToClose = durationpb.New(300 * time.Millisecond)
	d.send("a:1", frame)
	d.wait(time.Second)
	if len(d.stops[r]) != 1 || d.stops[r][0] != TimedOut {
		t.Fatalf("stops %v", d.stops)
	}
}

func TestAMovedSagaIsAnsweredToItsNewOwner(t *testing.T) { // W39
	d := newDesk(t, 4, "a:1")
	d.welcome("a:1", "a", "a", "b")
	d.welcome("b:1", "b", "a", "b")
	r, asked := ref("s", Action, 1), ref("s", Action, 9)
	d.send("a:1", invocations(1, r))
	d.send("a:1", &pb.ConnectResponse{SagaMoves: []*pb.SagaMoved{{SagaId: "s", Epoch: 2, Owner: &pb.Sec{SecId: "b", Address: "b:1"}}}})
	d.send("b:1", &pb.ConnectResponse{Adoptions: []*pb.Adoption{{SagaId: "s", Epoch: 2, Refs: []*pb.InvocationRef{r.message(), asked.message()}}}})
	report := d.pull("b:1").GetInFlight().GetEntries()
	if len(report) != 2 || report[0].GetState() != pb.InFlightState_IN_FLIGHT_STATE_RUNNING {
		t.Fatalf("report %v", report)
	}
	d.finish(r, success)
	if got := d.pull("a:1").GetResults(); len(got) != 0 {
		t.Fatalf("told to the old owner: %v", got)
	}
	if got := d.pull("b:1").GetResults(); len(got) != 1 || got[0].GetEpoch() != 2 {
		t.Fatalf("told to the new owner: %v", got)
	}
}

func TestResultsOfAnOwnerWithoutAStreamAreReported(t *testing.T) { // W28
	d := newDesk(t, 4, "a:1")
	d.welcome("a:1", "a", "a")
	r := ref("s", Action, 1)
	d.send("a:1", invocations(1, r))
	d.finish(r, success)
	d.pull("a:1")
	told := ack(r, notOwner)
	told.Owner = &pb.Sec{SecId: "c", Address: "c:1"}
	d.send("a:1", &pb.ConnectResponse{ResultAcks: []*pb.ResultAck{told}})
	if len(d.calls) != 1 || d.calls[0].Address != "c:1" || d.calls[0].Request.GetWorkerId() != "w" {
		t.Fatalf("calls %v", d.calls)
	}
	d.do(d.fleet.Called("c:1", []*pb.ResultAck{ack(r, recorded)}, d.now))
	if d.fleet.holdings.busy() {
		t.Fatal("it is still held")
	}
}

func TestProtocolErrorsEndTheStream(t *testing.T) { // W5, W9, W12
	welcome := &pb.Welcome{ProtocolVersion: 1, SecId: "a"}
	cases := map[string][]*pb.ConnectResponse{
		"no welcome":       {{Sequence: 1}},
		"a second welcome": {{Sequence: 1, Welcome: welcome}, {Sequence: 2, Welcome: welcome}},
		"a gap":            {{Sequence: 1, Welcome: welcome}, {Sequence: 3}},
		"a repetition":     {{Sequence: 1, Welcome: welcome}, {Sequence: 1}},
		"a version":        {{Sequence: 1, Welcome: &pb.Welcome{ProtocolVersion: 2}}},
	}
	for name, frames := range cases {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, 1, "a:1")
			d.pull("a:1")
			for _, frame := range frames {
				if d.open["a:1"] {
					d.do(d.fleet.Received(d.session("a:1"), frame, d.now))
				}
			}
			if d.open["a:1"] {
				t.Fatal("the stream goes on")
			}
			d.wait(reconnectMax)
			if !d.open["a:1"] {
				t.Fatal("it is not dialled again")
			}
		})
	}
}

func TestSilenceEndsTheStreamAndReconnectingGoesOnForEver(t *testing.T) { // W42, W55, W56
	d := newDesk(t, 1, "a:1")
	d.welcome("a:1", "a", "a")
	d.wait(5 * time.Second)
	d.pull("a:1")
	before := d.fleet.holdings.streams.epoch
	d.wait(11 * time.Second)
	if d.fleet.holdings.streams.epoch == before {
		t.Fatal("no new stream after silence")
	}
	for range 200 {
		if d.open["a:1"] {
			d.end("a:1", "refused")
		}
		d.wait(reconnectMax)
	}
	if epochs := d.fleet.holdings.streams.epoch; epochs < 150 {
		t.Fatalf("only %d streams", epochs)
	}
}

func TestDrain(t *testing.T) { // W49 to W53
	d := newDesk(t, 1, "a:1")
	d.welcome("a:1", "a", "a")
	runs, waits, late := ref("s", Action, 1), ref("t", Action, 1), ref("u", Action, 1)
	d.send("a:1", invocations(1, runs, waits))
	d.do(d.fleet.Drain(d.now, 20*time.Second))
	frame := d.pull("a:1")
	if frame.GetDrain() == nil || frame.GetCapacity().GetMaxInFlightByPool()[""] != 0 || len(frame.GetRejections()) != 1 {
		t.Fatalf("frame %v", frame)
	}
	d.send("a:1", invocations(1, late))
	if got := d.pull("a:1").GetRejections(); len(got) != 1 || got[0].GetReason() != isDraining {
		t.Fatalf("rejections %v", got)
	}
	d.send("a:1", &pb.ConnectResponse{Drained: true})
	if !d.open["a:1"] {
		t.Fatal("it left while something runs")
	}
	d.finish(runs, success)
	d.pull("a:1")
	d.send("a:1", &pb.ConnectResponse{ResultAcks: []*pb.ResultAck{ack(runs, recorded)}})
	if d.open["a:1"] || !d.fleet.Closed() {
		t.Fatal("it has not left")
	}
}

func TestADrainThatTakesTooLongCancelsAndLeaves(t *testing.T) { // W53
	d := newDesk(t, 1, "a:1")
	d.welcome("a:1", "a", "a")
	r := ref("s", Action, 1)
	d.send("a:1", invocations(1, r))
	d.do(d.fleet.Drain(d.now, time.Second))
	d.pull("a:1")
	d.wait(2 * time.Second)
	if len(d.stops[r]) != 1 || d.stops[r][0] != WorkerStopping {
		t.Fatalf("stops %v", d.stops)
	}
	d.wait(CancelGrace)
	if running, _ := d.fleet.LeftBehind(); !d.fleet.Closed() || len(running) != 1 {
		t.Fatalf("closed %v, left behind %v", d.fleet.Closed(), running)
	}
}

func TestReplacedEndsTheWorker(t *testing.T) { // W54
	d := newDesk(t, 1, "a:1")
	d.welcome("a:1", "a", "a")
	d.send("a:1", &pb.ConnectResponse{GoAway: &pb.GoAway{Reason: pb.GoAwayReason_GO_AWAY_REASON_REPLACED}})
	if !d.fleet.Closed() || !strings.Contains(d.fleet.Error, "another process") {
		t.Fatalf("closed %v, %q", d.fleet.Closed(), d.fleet.Error)
	}
}

func TestOversizeOutputIsHeld(t *testing.T) { // W26
	d := newDesk(t, 1, "a:1")
	d.welcome("a:1", "a", "a")
	r := ref("s", Action, 1)
	d.send("a:1", invocations(1, r))
	d.finish(r, Outcome{Output: &pb.Payload{Value: &pb.Payload_Data{Data: make([]byte, PayloadBytes)}, Encoding: "x"}})
	got := d.pull("a:1").GetResults()
	if len(got) != 1 || got[0].GetFailure().GetType() != "sagaline.PayloadTooLarge" {
		t.Fatalf("results %v", got)
	}
}

func TestCompleteReportsAreSentInParts(t *testing.T) { // W37
	d := newDesk(t, 6000, "a:1")
	d.welcome("a:1", "a", "a")
	for range 6 {
		frame := &pb.ConnectResponse{}
		for range 1000 {
			r := ref(strings.Repeat("s", 100)+time.Duration(len(d.runs)+len(frame.Invocations)).String(), Action, 1)
			r.Node = strings.Repeat("n", 120)
			frame.Invocations = append(frame.Invocations, invocation(r, 1))
		}
		d.send("a:1", frame)
	}
	d.send("a:1", &pb.ConnectResponse{Reconcile: &pb.Reconcile{}})
	parts, entries := 0, 0
	for frame := d.session("a:1").NextFrame(d.now); frame != nil; frame = d.session("a:1").NextFrame(d.now) {
		parts++
		entries += len(frame.GetInFlight().GetEntries())
		if frame.GetInFlight().GetComplete() != (entries == 6000) {
			t.Fatalf("complete after %d", entries)
		}
	}
	if parts < 2 || entries != 6000 {
		t.Fatalf("%d parts, %d entries", parts, entries)
	}
}
