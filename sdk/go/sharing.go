package sagaline

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sagaline.dev/sdk/go/internal/runs"
	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Bounds of the runs of one client.
const (
	aloneMost  = 8               // runs at once that have a call each
	sharedMost = 10_000          // runs at once over the stream; those beyond have a call each
	idleTime   = 5 * time.Second // how long the stream stays open without a run
	streamTime = time.Hour       // a stream is opened anew after this, so that it too has a deadline
)

// sharedRuns lets the concurrent runs of one client share a stream that creates their sagas and tells of their ends.
//
// Nothing waits for others to come. A few runs at once have a call each, which is the shortest way; those beyond go over
// the stream. It is opened when it is first needed, and ends when nobody has needed it for a while.
type sharedRuns struct {
	client   *Client
	ctx      context.Context // of every stream
	stop     context.CancelFunc
	idleTime time.Duration
	keepers  sync.WaitGroup // at most one at a time
	wake     chan struct{}  // the writer of the stream may have something to do

	mu      sync.Mutex // of all below
	alone   int
	waiting map[string]chan told // by saga: who waits for its end
	book    *runs.Book
	kept    bool // there is a keeper
}

// told is what became of a run. Without either, it has to go alone.
type told struct {
	end *pb.SagaEnd
	err error
}

func newSharedRuns(c *Client) *sharedRuns {
	ctx, stop := context.WithCancel(context.Background())
	return &sharedRuns{
		client: c, ctx: ctx, stop: stop, idleTime: idleTime, wake: make(chan struct{}, 1),
		waiting: map[string]chan told{}, book: runs.NewBook(),
	}
}

// close gives up the stream; who waits on it hears of that.
func (s *sharedRuns) close() {
	s.mu.Lock()
	s.stop() // nobody adds a keeper after this
	s.mu.Unlock()
	s.keepers.Wait()
}

// run runs a saga until it has ended, or needs an operator; alone makes the calls of a run that does not share.
func (s *sharedRuns) run(ctx context.Context, spec *pb.SagaSpec, alone func() (*pb.Saga, error)) (*pb.Saga, error) {
	if end := s.join(ctx, spec); end != nil {
		if saga, err := s.await(ctx, spec.GetSagaId(), end); saga != nil || err != nil {
			return saga, err
		}
		s.count(1)
	}
	defer s.count(-1)
	return alone()
}

// join puts a saga on the stream and gives where its end will be told; or it counts a run that goes alone, and gives nil.
func (s *sharedRuns) join(ctx context.Context, spec *pb.SagaSpec) chan told {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := spec.GetSagaId()
	few := s.alone < aloneMost && len(s.waiting) == 0
	if few || len(s.waiting) >= sharedMost || s.waiting[id] != nil || s.ctx.Err() != nil || ctx.Err() != nil {
		s.alone++
		return nil
	}
	end := make(chan told, 1)
	s.waiting[id] = end
	s.book.Add(spec)
	if !s.kept {
		s.kept = true
		s.keepers.Go(s.keep)
	}
	s.signal()
	return end
}

func (s *sharedRuns) count(more int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alone += more
}

// await gives the saga as it ended; without one and without an error the run has to go alone.
func (s *sharedRuns) await(ctx context.Context, id string, end chan told) (*pb.Saga, error) {
	var heard told
	select {
	case heard = <-end:
	case <-ctx.Done():
		s.leave(id, end)
		return nil, errorOf(status.FromContextError(ctx.Err()).Err())
	}
	switch problem := heard.end.GetError(); {
	case heard.err != nil:
		return nil, heard.err
	case problem.GetReason() == ReasonSagaNotFound:
		return nil, errorOfBatch(problem)
	case heard.end == nil, problem != nil:
		return nil, nil // a refusal in a batch names fields of the batch: sent alone, the saga is refused with its own
	}
	return &pb.Saga{
		SagaId: id, State: heard.end.GetState(), Output: heard.end.GetOutput(), Failure: heard.end.GetFailure(),
		FailedNode: heard.end.GetFailedNode(), NeedsOperator: heard.end.GetNeedsOperator(),
	}, nil
}

// leave takes no more interest in a saga, unless its end was told meanwhile.
func (s *sharedRuns) leave(id string, end chan told) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[id] == end {
		delete(s.waiting, id)
		s.book.Drop(id)
		s.signal()
	}
}

func (s *sharedRuns) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// ---- the stream

// keep keeps a stream open as long as it is needed.
func (s *sharedRuns) keep() {
	tries, pause, until := 0, repeatMin, time.Time{}
	for {
		at := s.client.at.Load()
		progressed, err := s.converse()
		if s.isOver() {
			return
		}
		if progressed {
			tries, pause = 0, repeatMin
		}
		if err == nil {
			continue // it was ended here, and somebody came meanwhile
		}
		if tries++; tries == 1 {
			until = now().Add(s.client.patience)
		}
		pause = max(pause, err.RetryAfter)
		if !isPassing(err) || now().After(until) || s.client.next(s.ctx, at, tries, &pause) != nil {
			s.giveUp(err)
			return
		}
	}
}

// isOver says whether every saga has ended: then there is no keeper any more.
func (s *sharedRuns) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = s.book.Len() > 0
	return !s.kept
}

// isPassing says whether another stream may go well. What breaks one under way, its own deadline included, carries no
// reason: those are the words of SECs.
func isPassing(err *Error) bool {
	switch err.Code {
	case codes.Unavailable:
		return true
	case codes.Canceled, codes.DeadlineExceeded, codes.Unknown, codes.Internal, codes.DataLoss:
		return err.Reason == "" || err.RetryAfter > 0
	}
	return err.RetryAfter > 0
}

// giveUp tells everybody that there will be no stream.
func (s *sharedRuns) giveUp(err *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := told{} // whatever is wrong with the stream, single calls may go well
	if s.ctx.Err() != nil {
		last.err = &Error{Code: codes.Canceled, Message: "the client was closed"}
	} else if err.Code == codes.Unavailable {
		last.err = err
	}
	for _, end := range s.waiting {
		end <- last
	}
	s.waiting, s.book, s.kept = map[string]chan told{}, runs.NewBook(), false
}

// converse uses one stream until it ends; without an error where that was done here, as nobody needed it.
func (s *sharedRuns) converse() (progressed bool, problem *Error) {
	before := s.restart()
	ctx, cancel := context.WithTimeout(s.ctx, streamTime)
	defer cancel()
	stream, err := s.client.API().RunSagas(ctx)
	if err != nil {
		return false, errorOf(err).(*Error)
	}
	var isIdle bool
	var unsendable error
	written := make(chan struct{})
	go func() {
		defer close(written)
		defer cancel()
		isIdle, unsendable = s.write(ctx, stream)
	}()
	err = s.read(stream)
	cancel()
	<-written
	progressed = s.progress() > before
	switch {
	case isIdle:
		return progressed, nil
	case unsendable != nil:
		// It would break every stream: sent alone, only the saga that is to blame is refused.
		return progressed, &Error{Code: codes.InvalidArgument, Message: unsendable.Error()}
	case errors.Is(err, io.EOF):
		return progressed, &Error{Code: codes.Unavailable, Message: "the stream ended before the sagas did"}
	}
	return progressed, errorOf(err).(*Error)
}

func (s *sharedRuns) restart() (progress int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.book.Restart()
	return s.book.Progress
}

func (s *sharedRuns) progress() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.book.Progress
}

// read reads until the stream is of no more use.
func (s *sharedRuns) read(stream pb.SagaService_RunSagasClient) error {
	for {
		frame, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := s.receive(frame); err != nil {
			return err
		}
	}
}

func (s *sharedRuns) receive(frame *pb.RunSagasResponse) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, end := range s.book.Receive(frame) {
		s.waiting[end.GetSagaId()] <- told{end: end}
		delete(s.waiting, end.GetSagaId())
	}
	if s.book.Len() == 0 {
		s.signal() // the writer counts the time without a run
	}
	return s.book.Trouble
}

// write sends frames whenever there is something to say. It returns when the stream ends, when a frame can't be sent, or
// when nobody has needed the stream for a while.
func (s *sharedRuns) write(ctx context.Context, stream pb.SagaService_RunSagasClient) (isIdle bool, unsendable error) {
	for {
		frame, isNeeded := s.nextFrame()
		if frame != nil {
			if err := stream.Send(frame); err != nil {
				if errors.Is(err, io.EOF) || ctx.Err() != nil {
					return false, nil // the stream is over, and the reader knows why
				}
				return false, err
			}
			continue
		}
		var idle <-chan time.Time
		if !isNeeded {
			idle = time.After(s.idleTime)
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return false, nil
		case <-idle:
			s.end(ctx, stream)
			return true, nil
		}
	}
}

// end ends a stream that nobody needs. The SEC goes on following the sagas whose runs were given up: whoever comes while it
// does gets a stream of their own.
func (s *sharedRuns) end(ctx context.Context, stream pb.SagaService_RunSagasClient) {
	_ = stream.CloseSend() // it never fails
	select {
	case <-s.wake:
	case <-ctx.Done():
	}
}

// nextFrame lets those run first that can run now, so that runs which come at the same moment share a frame: gRPC takes a
// frame and returns at once, and never is the stream busy for long enough to gather anything. It waits for nobody: it ends
// as soon as a turn of all others has brought nothing more.
func (s *sharedRuns) nextFrame() (frame *pb.RunSagasRequest, isNeeded bool) {
	for before := 0; ; runtime.Gosched() {
		s.mu.Lock()
		unsent := s.book.Unsent()
		if unsent <= before || unsent >= runs.SagasMost {
			defer s.mu.Unlock()
			return s.book.NextFrame(), s.book.Len() > 0
		}
		before = unsent
		s.mu.Unlock()
	}
}
