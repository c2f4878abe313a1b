package engine

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"sagaline.dev/sdk/go/internal/machine"
	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// gatherMost: with so many in one frame, more would save nothing.
const gatherMost = 256

// link carries the frames of one session: one stream after another over one connection, which is made anew when the
// session asks for that. Its fields are touched with the engine's lock held, except for conn, which the goroutine of the
// stream has while there is one.
type link struct {
	engine  *Engine
	address string
	conn    *grpc.ClientConn

	// Of the stream that is open:
	isOpen      bool
	cancel      context.CancelFunc
	wake        chan struct{}
	why         string
	halfClosing bool
	closed      bool
}

func newLink(e *Engine, address string) *link {
	return &link{engine: e, address: address, wake: make(chan struct{}, 1)}
}

// open starts the goroutine of a stream.
func (l *link) open(fresh bool) {
	ctx, cancel := context.WithCancel(l.engine.ctx)
	l.isOpen, l.cancel, l.why, l.halfClosing = true, cancel, "", false
	l.engine.streams.Go(func() { l.run(ctx, fresh) })
}

// end does what the session asks of its stream.
func (l *link) end(effect machine.EndStream) {
	l.why = effect.Why
	if effect.HalfClose {
		l.halfClosing = true
		l.signal()
	} else if l.cancel != nil {
		l.cancel()
	}
}

// hangUp: the session is over for good.
func (l *link) hangUp() {
	l.closed = true
	if l.cancel != nil {
		l.cancel()
	}
	if !l.isOpen {
		l.closeConn()
	}
}

// poke lets the writer look whether there is a frame.
func (l *link) poke() {
	if l.isOpen {
		if s := l.session(); s != nil && s.HasFrame() {
			l.signal()
		}
	}
}

func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *link) session() *machine.Session { return l.engine.config.Fleet.Session(l.address) }

func (l *link) closeConn() {
	if l.conn != nil {
		_ = l.conn.Close() // it can only say that it was closed before
		l.conn = nil
	}
}

// run is one stream, from its opening to its end. Nothing of it is left behind when the machine is told of that.
func (l *link) run(ctx context.Context, fresh bool) {
	if fresh {
		l.closeConn()
	}
	var session *machine.Session
	l.engine.do(func(now time.Time) []machine.Effect {
		if session = l.session(); session == nil || l.closed {
			session, l.isOpen = nil, false // it was closed between the order and now
			return nil
		}
		return l.engine.config.Fleet.Opened(session, now)
	})
	if session == nil {
		l.cancel()
		l.closeConn()
		return
	}
	err := l.stream(ctx, session)
	l.cancel()
	l.engine.do(func(now time.Time) []machine.Effect {
		l.isOpen = false
		why := l.why
		if why == "" {
			why = reason(err)
		}
		effects := l.engine.config.Fleet.Ended(session, now, why, rand.Float64())
		if l.closed {
			l.closeConn()
		}
		return effects
	})
}

func reason(err error) string {
	if errors.Is(err, io.EOF) {
		return "OK"
	}
	if s, ok := status.FromError(err); ok && s.Message() != "" {
		return s.Code().String() + ": " + s.Message()
	}
	return err.Error()
}

// stream ends when its reader or its writer does, whichever is first.
func (l *link) stream(ctx context.Context, session *machine.Session) error {
	if l.conn == nil {
		conn, err := l.engine.config.Dial(l.address)
		if err != nil {
			return err
		}
		l.conn = conn
	}
	call, err := pb.NewWorkerServiceClient(l.conn).Connect(ctx)
	if err != nil {
		return err
	}
	read := make(chan error, 1)
	go func() { read <- l.read(call, session) }()
	err = l.write(ctx, call, session, read)
	if err != nil {
		l.cancel()
		if readErr := <-read; errors.Is(err, io.EOF) {
			err = readErr // Send only says that the stream is over; Recv knows why
		}
		return err
	}
	return <-read // our half is closed, and the SEC's end is waited for
}

func (l *link) read(call pb.WorkerService_ConnectClient, session *machine.Session) error {
	for {
		frame, err := call.Recv()
		if err != nil {
			l.signal()
			return err
		}
		l.engine.do(func(now time.Time) []machine.Effect {
			return l.engine.config.Fleet.Received(session, frame, now)
		})
	}
}

// gather lets those run first that can run now, so that attempts which end at the same moment share a frame (W8): gRPC takes
// a frame and returns at once, and never is the stream busy for long enough to gather anything. It waits for nobody: where
// nothing else can run, yielding returns at once, and it ends as soon as a turn of all others has brought nothing more.
func (l *link) gather(session *machine.Session) {
	for before := 0; ; {
		l.engine.mu.Lock()
		queued := session.Queued()
		l.engine.mu.Unlock()
		if queued <= before || queued >= gatherMost {
			return
		}
		before = queued
		runtime.Gosched()
	}
}

// write pulls frames whenever the stream is free. It returns nil once our half is closed.
func (l *link) write(ctx context.Context, call pb.WorkerService_ConnectClient, session *machine.Session, read chan error) error {
	for {
		l.gather(session)
		l.engine.mu.Lock()
		frame := session.NextFrame(time.Now())
		halfClosing := l.halfClosing
		l.engine.mu.Unlock()
		switch {
		case frame != nil:
			if err := call.Send(frame); err != nil {
				return err
			}
			l.engine.do(l.engine.config.Fleet.Written)
		case halfClosing:
			return call.CloseSend()
		default:
			select {
			case <-l.wake:
			case <-ctx.Done():
				return ctx.Err()
			case err := <-read:
				read <- err
				return io.EOF
			}
		}
	}
}
