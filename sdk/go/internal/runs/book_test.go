package runs

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

var trip = &pb.Graph{Name: "trip"}

func spec(id string, graph *pb.Graph) *pb.SagaSpec {
	params := &pb.Payload{Value: &pb.Payload_Json{Json: `"x"`}}
	return &pb.SagaSpec{SagaId: id, Graph: graph, Params: params, Labels: map[string]string{"a": "b"}, StartPaused: true}
}

func filled(count int) *Book {
	b := NewBook()
	for number := range count {
		b.Add(spec(fmt.Sprintf("s%d", number), trip))
	}
	return b
}

func frames(b *Book) (all []*pb.RunSagasRequest) {
	for frame := b.NextFrame(); frame != nil; frame = b.NextFrame() {
		all = append(all, frame)
	}
	return all
}

func ids(frame *pb.RunSagasRequest) (all []string) {
	for _, spec := range frame.GetSagas() {
		all = append(all, spec.GetSagaId())
	}
	return all
}

func created(ids ...string) *pb.RunSagasResponse {
	response := &pb.RunSagasResponse{}
	for _, id := range ids {
		response.Results = append(response.Results, &pb.CreateResult{SagaId: id})
	}
	return response
}

func ended(ids ...string) *pb.RunSagasResponse {
	response := &pb.RunSagasResponse{}
	for _, id := range ids {
		response.Ends = append(response.Ends, &pb.SagaEnd{SagaId: id, State: pb.SagaState_SAGA_STATE_SUCCEEDED})
	}
	return response
}

func TestSagasGoInFullFramesAndEachGraphOnce(t *testing.T) {
	b := filled(SagasMost + 10)
	other := &pb.Graph{Name: "other"}
	b.Add(spec("last", other))
	sent := frames(b)
	if len(sent) != 2 || len(sent[0].GetSagas()) != SagasMost || len(sent[1].GetSagas()) != 11 {
		t.Fatalf("%d frames", len(sent))
	}
	want := proto.CloneOf(spec("s0", nil))
	want.GraphKey = "g0"
	if got := sent[0].GetSagas()[0]; !proto.Equal(got, want) || !sent[0].GetOrNeedsOperator() {
		t.Fatalf("sent %v", got)
	}
	if len(sent[0].GetGraphs()) != 1 || sent[0].GetGraphs()["g0"] != trip || len(sent[1].GetGraphs()) != 1 || sent[1].GetGraphs()["g1"] != other {
		t.Fatalf("graphs %v and %v", sent[0].GetGraphs(), sent[1].GetGraphs())
	}
	if sent[1].GetSagas()[10].GetGraphKey() != "g1" || sent[1].GetSagas()[9].GetGraphKey() != "g0" {
		t.Fatal("the keys are wrong")
	}
}

func TestAFrameIsClosedBeforeItIsTooLarge(t *testing.T) {
	b := NewBook()
	for number, size := range []int{bytesMost / 2, bytesMost / 3, bytesMost / 3, 2 * bytesMost, 1} {
		large := spec(fmt.Sprint(number), trip)
		large.Params = &pb.Payload{Value: &pb.Payload_Data{Data: make([]byte, size)}}
		b.Add(large)
	}
	var counts []int
	for _, frame := range frames(b) {
		counts = append(counts, len(frame.GetSagas()))
	}
	if !slices.Equal(counts, []int{2, 1, 1, 1}) {
		t.Fatalf("got %v", counts)
	}
}

func TestGraphsBeyondWhatAStreamKeepsGoInsideTheirSpecs(t *testing.T) {
	b := NewBook()
	for number := range graphsMost + 2 {
		b.Add(spec(fmt.Sprint(number), &pb.Graph{Name: "each its own"}))
	}
	huge := &pb.Graph{Name: strings.Repeat("x", graphBytesMost)}
	beside, inside := 0, 0
	for _, frame := range frames(b) {
		beside += len(frame.GetGraphs())
		for _, spec := range frame.GetSagas() {
			if (spec.GetGraph() == nil) == (spec.GetGraphKey() == "") {
				t.Fatalf("graph and key of %v", spec)
			}
			if spec.GetGraph() != nil {
				inside++
			}
		}
	}
	if beside != graphsMost || inside != 2 {
		t.Fatalf("%d beside and %d inside", beside, inside)
	}
	b = NewBook()
	b.Add(spec("small", trip))
	b.Add(spec("large", huge))
	if sent := frames(b); len(sent) != 2 || sent[1].GetSagas()[0].GetGraph() != huge || len(sent[1].GetGraphs()) > 0 {
		t.Fatalf("%d frames", len(sent))
	}
}

func TestASagaThatIsDroppedBeforeItWasSentNeverIs(t *testing.T) {
	b := filled(3)
	b.Drop("s1")
	if sent := frames(b); len(sent) != 1 || !slices.Equal(ids(sent[0]), []string{"s0", "s2"}) || b.Len() != 2 {
		t.Fatalf("sent %v", sent)
	}
	b.Drop("s0")
	// Its answer is still to come, and its end adds nothing.
	got := b.Receive(created("s0", "s2"))
	got = append(got, b.Receive(ended("s0", "s2", "s2"))...)
	if len(got) != 1 || got[0].GetSagaId() != "s2" || b.Trouble != nil || b.Len() != 0 {
		t.Fatalf("got %v, %v", got, b.Trouble)
	}
}

func TestOnTheNextStreamDurableSagasAreFollowedAndOthersSentAgain(t *testing.T) {
	b := filled(4)
	frames(b)
	b.Receive(created("s0", "s1"))
	b.Receive(ended("s0"))
	if b.Progress != 3 {
		t.Fatalf("progress %d", b.Progress)
	}
	b.Restart()
	b.Add(spec("new", trip))
	sent := frames(b)
	if len(sent) != 2 || !slices.Equal(sent[0].GetFollowIds(), []string{"s1"}) || !sent[0].GetOrNeedsOperator() {
		t.Fatalf("sent %v", sent)
	}
	again := ids(sent[1])
	slices.Sort(again)
	if !slices.Equal(again, []string{"new", "s2", "s3"}) || len(sent[1].GetGraphs()) != 1 {
		t.Fatalf("sent %v", sent[1])
	}
	var all []string
	for _, end := range append(b.Receive(created(ids(sent[1])...)), b.Receive(ended("s1", "s2", "s3", "new"))...) {
		all = append(all, end.GetSagaId())
	}
	if !slices.Equal(all, []string{"s1", "s2", "s3", "new"}) || b.Len() != 0 || b.Trouble != nil {
		t.Fatalf("ended %v", all)
	}
}

func TestNoFrameFollowsMoreThanTheProtocolAllows(t *testing.T) {
	b := filled(followedMost + 1)
	for _, frame := range frames(b) {
		b.Receive(created(ids(frame)...))
	}
	b.Restart()
	sent := frames(b)
	if len(sent) != 2 || len(sent[0].GetFollowIds()) != followedMost || len(sent[1].GetFollowIds()) != 1 {
		t.Fatalf("%d frames", len(sent))
	}
}

func TestASagaThatIsRefusedEndsWithThat(t *testing.T) {
	b := filled(2)
	frames(b)
	refused := &pb.BatchError{Code: int32(codes.InvalidArgument), Reason: "INVALID_REQUEST"}
	// Where an id is wrong the answer has none.
	got := b.Receive(&pb.RunSagasResponse{Results: []*pb.CreateResult{{Error: refused}, {SagaId: "s1"}}})
	if len(got) != 1 || got[0].GetSagaId() != "s0" || got[0].GetError() != refused || b.Len() != 1 {
		t.Fatalf("got %v", got)
	}
}

func TestASecThatDoesNotServeSaysNothingOfASaga(t *testing.T) {
	gone := &pb.BatchError{Code: int32(codes.Unavailable), Reason: "NOT_SERVING", Message: "leaves"}
	for _, frame := range []*pb.RunSagasResponse{
		{Results: []*pb.CreateResult{{SagaId: "s0", Error: gone}}},
		{Ends: []*pb.SagaEnd{{SagaId: "s0", Error: gone}}},
	} {
		b := filled(1)
		frames(b)
		if got := b.Receive(frame); len(got) > 0 || status.Code(b.Trouble) != codes.Unavailable {
			t.Fatalf("got %v, %v", got, b.Trouble)
		}
		b.Restart()
		if sent := frames(b); b.Trouble != nil || len(sent) != 1 || !slices.Equal(ids(sent[0]), []string{"s0"}) {
			t.Fatalf("sent %v", sent)
		}
	}
}

func TestAnAnswerOutOfPlaceIsTheEndOfTheStream(t *testing.T) {
	for _, answered := range []string{"s1", "nobody"} {
		b := filled(2)
		frames(b)
		if b.Receive(created(answered)); status.Code(b.Trouble) != codes.DataLoss || b.Len() != 2 {
			t.Fatalf("trouble: %v", b.Trouble)
		}
	}
	if b := NewBook(); b.Receive(created("")) != nil || b.Trouble == nil {
		t.Fatal("a result that nobody asked for was taken")
	}
}
