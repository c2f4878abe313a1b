package sagaline

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// wait is the bound of what takes a moment.
const wait = time.Minute

// breaks is how a stream ends before its time.
type breaks struct {
	afterFrames int
	code        codes.Code // OK: as if all were well
}

// fakeSEC is a SagaService whose sagas end when the test wants it, with their ids as outputs, and whose streams break.
type fakeSEC struct {
	pb.UnimplementedSagaServiceServer
	end    func(id string) *pb.SagaEnd
	refuse func(spec *pb.SagaSpec, inStream bool) *pb.BatchError

	mu       sync.Mutex
	gate     chan struct{} // no saga ends before it is closed
	breaks   []breaks      // one for each stream, in order; those beyond are whole
	created  map[string]int
	followed []string
	graphs   int
	alone    int
	streams  int // opened
	open     int
	ended    int // by their client, which has said all
}

func newFakeSEC() *fakeSEC {
	return &fakeSEC{
		end: func(id string) *pb.SagaEnd {
			return &pb.SagaEnd{SagaId: id, State: pb.SagaState_SAGA_STATE_SUCCEEDED, Output: jsonPayload(`"` + id + `"`)}
		},
		refuse:  func(*pb.SagaSpec, bool) *pb.BatchError { return nil },
		gate:    make(chan struct{}),
		created: map[string]int{},
	}
}

// serving serves a SEC for the length of the test.
func serving(t *testing.T, sec *fakeSEC) (address string, server *grpc.Server) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server = grpc.NewServer()
	pb.RegisterSagaServiceServer(server, sec)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	return listener.Addr().String(), server
}

// seen looks at what the SEC was asked, with its lock held.
func (f *fakeSEC) seen(look func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	look()
}

// release lets sagas end, until they are held again.
func (f *fakeSEC) release() { close(f.gate) }

func (f *fakeSEC) hold() { f.seen(func() { f.gate = make(chan struct{}) }) }

func (f *fakeSEC) released() (gate chan struct{}) {
	f.seen(func() { gate = f.gate })
	return gate
}

func (f *fakeSEC) create(spec *pb.SagaSpec, inStream bool) *pb.BatchError {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !inStream {
		f.alone++
	}
	problem := f.refuse(spec, inStream)
	if problem == nil {
		f.created[spec.GetSagaId()]++
	}
	return problem
}

func (f *fakeSEC) RunSaga(ctx context.Context, request *pb.RunSagaRequest) (*pb.RunSagaResponse, error) {
	if problem := f.create(request.GetSaga(), false); problem != nil {
		return nil, status.Error(codes.Code(problem.GetCode()), problem.GetMessage())
	}
	select {
	case <-f.released():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	end := f.end(request.GetSaga().GetSagaId())
	return &pb.RunSagaResponse{Saga: &pb.Saga{
		SagaId: end.GetSagaId(), State: end.GetState(), Output: end.GetOutput(), NeedsOperator: end.GetNeedsOperator(),
	}}, nil
}

func (f *fakeSEC) RunSagas(stream pb.SagaService_RunSagasServer) error {
	s := &fakeStream{fakeSEC: f, stream: stream, breaks: breaks{-1, codes.OK}, graphs: map[string]*pb.Graph{}}
	f.seen(func() {
		f.streams++
		f.open++
		if len(f.breaks) > 0 {
			s.breaks, f.breaks = f.breaks[0], f.breaks[1:]
		}
	})
	defer f.seen(func() { f.open-- })
	requests := make(chan *pb.RunSagasRequest)
	go func() {
		defer close(requests)
		for request, err := stream.Recv(); err == nil; request, err = stream.Recv() {
			select {
			case requests <- request:
			case <-stream.Context().Done():
				return
			}
		}
	}()
	return s.serve(requests)
}

type fakeStream struct {
	*fakeSEC
	stream  pb.SagaService_RunSagasServer
	breaks  breaks
	sent    int
	graphs  map[string]*pb.Graph
	waiting []string
}

func (s *fakeStream) serve(requests chan *pb.RunSagasRequest) error {
	for requests != nil || len(s.waiting) > 0 {
		released := s.released()
		if len(s.waiting) == 0 {
			released = nil
		}
		select {
		case request, more := <-requests:
			if !more {
				requests = nil
				s.seen(func() { s.ended++ })
			} else if over, err := s.take(request); over {
				return err
			}
		case <-released:
			middle := (len(s.waiting) + 1) / 2
			if over, err := s.send(&pb.RunSagasResponse{Ends: s.ends(s.waiting[:middle])}); over {
				return err
			}
			s.waiting = s.waiting[middle:]
		case <-s.stream.Context().Done():
			return s.stream.Context().Err()
		}
	}
	return nil
}

func (s *fakeStream) take(request *pb.RunSagasRequest) (over bool, err error) {
	response := &pb.RunSagasResponse{}
	s.seen(func() {
		s.fakeSEC.graphs += len(request.GetGraphs())
		s.followed = append(s.followed, request.GetFollowIds()...)
	})
	for key, graph := range request.GetGraphs() {
		s.graphs[key] = graph
	}
	s.waiting = append(s.waiting, request.GetFollowIds()...)
	for _, spec := range request.GetSagas() {
		if s.graphs[spec.GetGraphKey()] == nil || !request.GetOrNeedsOperator() {
			return true, status.Error(codes.InvalidArgument, "no graph, or no need of an operator")
		}
		problem := s.create(spec, true)
		response.Results = append(response.Results, &pb.CreateResult{SagaId: spec.GetSagaId(), Error: problem})
		if problem == nil {
			s.waiting = append(s.waiting, spec.GetSagaId())
		}
	}
	return s.send(response)
}

func (s *fakeStream) ends(ids []string) (ends []*pb.SagaEnd) {
	for _, id := range ids {
		ends = append(ends, s.end(id))
	}
	return ends
}

// send sends a frame, or breaks where it is time for that.
func (s *fakeStream) send(response *pb.RunSagasResponse) (over bool, err error) {
	if s.sent == s.breaks.afterFrames {
		if s.breaks.code == codes.OK {
			return true, nil
		}
		return true, status.Error(s.breaks.code, "broken")
	}
	s.sent++
	err = s.stream.Send(response)
	return err != nil, err
}

// until waits for a state of the SEC.
func (f *fakeSEC) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	end := time.After(wait)
	for look, found := time.Tick(time.Millisecond), false; ; <-look {
		f.seen(func() { found = is() })
		if found {
			return
		}
		select {
		case <-end:
			f.seen(func() { t.Fatalf("not %s: %d alone, %d streams, %d created", what, f.alone, f.streams, len(f.created)) })
		default:
		}
	}
}
