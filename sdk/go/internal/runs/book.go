package runs

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// followedMost: the protocol allows so many in a frame.
const followedMost = 1000

// Book is the outstanding sagas, and what of them is under way on the present stream. It is touched by one goroutine at a
// time.
//
// A saga is outstanding from the moment it is added until its end is known. When a stream breaks, the next one is told of
// all outstanding sagas: those known to be durable are followed by id, the others are sent again, which is safe because
// each has an id. So every saga ends exactly once here, however many streams it takes.
type Book struct {
	// Progress is how often a saga came further: was durable, or ended.
	Progress int
	// Trouble is why the present stream is of no more use, though it has not broken: a status; nil if it is.
	Trouble error

	outstanding map[string]*saga
	unsent      *batches
	unfollowed  []string
	unanswered  []string
}

type saga struct {
	spec    *pb.SagaSpec
	durable bool
}

// NewBook makes a book in which nothing is outstanding.
func NewBook() *Book { return &Book{outstanding: map[string]*saga{}, unsent: newBatches()} }

// Len is how many sagas are outstanding.
func (b *Book) Len() int { return len(b.outstanding) }

// Unsent is how many sagas wait to be sent on the present stream.
func (b *Book) Unsent() int { return b.unsent.len() }

// Add takes on one more saga, whose id is not outstanding. Its spec has its graph, and is never changed.
func (b *Book) Add(spec *pb.SagaSpec) {
	b.outstanding[spec.GetSagaId()] = &saga{spec: spec}
	b.unsent.add(spec)
}

// Drop takes no more interest in a saga. If it was not sent yet, it never is.
func (b *Book) Drop(id string) {
	delete(b.outstanding, id)
	b.unsent.drop(id)
}

// Restart begins a new stream: what the last one had not answered may or may not have arrived.
func (b *Book) Restart() {
	b.Trouble, b.unsent, b.unfollowed, b.unanswered = nil, newBatches(), nil, nil
	for id, saga := range b.outstanding {
		if saga.durable {
			b.unfollowed = append(b.unfollowed, id)
		} else {
			b.unsent.add(saga.spec)
		}
	}
}

// NextFrame gives the next frame to send; nil if there is nothing to say at present.
func (b *Book) NextFrame() *pb.RunSagasRequest {
	if count := min(len(b.unfollowed), followedMost); count > 0 {
		ids := b.unfollowed[:count]
		b.unfollowed = b.unfollowed[count:]
		return &pb.RunSagasRequest{FollowIds: ids, OrNeedsOperator: true}
	}
	specs, graphs := b.unsent.next()
	if len(specs) == 0 {
		return nil
	}
	for _, spec := range specs {
		b.unanswered = append(b.unanswered, spec.GetSagaId())
	}
	return &pb.RunSagasRequest{Graphs: graphs, Sagas: specs, OrNeedsOperator: true}
}

// Receive gives the sagas that ended, refused ones among them, whose end is an error. Afterwards look at Trouble.
func (b *Book) Receive(frame *pb.RunSagasResponse) []*pb.SagaEnd {
	var ended []*pb.SagaEnd
	for _, result := range frame.GetResults() {
		if end := b.created(result); end != nil {
			ended = append(ended, end)
		}
	}
	for _, end := range frame.GetEnds() {
		if end = b.ended(end); end != nil {
			ended = append(ended, end)
		}
	}
	return ended
}

func (b *Book) created(result *pb.CreateResult) *pb.SagaEnd {
	expected := ""
	if len(b.unanswered) > 0 {
		expected, b.unanswered = b.unanswered[0], b.unanswered[1:]
	}
	if id := result.GetSagaId(); expected == "" || (id != expected && id != "") {
		b.Trouble = status.Errorf(codes.DataLoss, "the result of %q came where that of %q was due", id, expected)
		return nil
	}
	if result.GetError() != nil {
		return b.ended(&pb.SagaEnd{SagaId: expected, Error: result.GetError()})
	}
	if saga := b.outstanding[expected]; saga != nil {
		b.Progress++
		saga.durable = true
	}
	return nil
}

// ended gives nil for a second word on a saga's end, which adds nothing.
func (b *Book) ended(end *pb.SagaEnd) *pb.SagaEnd {
	if problem := end.GetError(); codes.Code(problem.GetCode()) == codes.Unavailable {
		// It says nothing of the saga: on the next stream it is sent or followed again.
		b.Trouble = status.Error(codes.Unavailable, problem.GetMessage())
		return nil
	}
	b.Progress++
	if b.outstanding[end.GetSagaId()] == nil {
		return nil
	}
	delete(b.outstanding, end.GetSagaId())
	return end
}
