package sagaline

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Get gives a saga with its nodes.
func (c *Client) Get(ctx context.Context, id string) (*pb.Saga, error) {
	response, err := ask(ctx, c, func(api pb.SagaServiceClient) (*pb.GetSagaResponse, error) {
		return api.GetSaga(ctx, &pb.GetSagaRequest{SagaId: id})
	})
	return response.GetSaga(), err
}

func isOver(saga *pb.Saga) bool {
	return saga.GetState() == pb.SagaState_SAGA_STATE_SUCCEEDED || saga.GetState() == pb.SagaState_SAGA_STATE_UNWOUND
}

// Wait waits until a saga has ended, for as long as ctx lets it.
func (c *Client) Wait(ctx context.Context, id string) (*pb.Saga, error) {
	return c.wait(ctx, id, false)
}

// WaitOrOperator waits until a saga has ended or only an operator can bring it further.
func (c *Client) WaitOrOperator(ctx context.Context, id string) (*pb.Saga, error) {
	return c.wait(ctx, id, true)
}

func (c *Client) wait(ctx context.Context, id string, orOperator bool) (*pb.Saga, error) {
	request := &pb.WaitSagaRequest{SagaId: id, Timeout: durationpb.New(time.Minute), OrNeedsOperator: orOperator}
	for {
		response, err := ask(ctx, c, func(api pb.SagaServiceClient) (*pb.WaitSagaResponse, error) {
			return api.WaitSaga(ctx, request)
		})
		saga := response.GetSaga()
		if err != nil || isOver(saga) || (orOperator && saga.GetNeedsOperator()) {
			return saga, err
		}
	}
}

// Watch gives every entry of a saga's log from a number on, 1 being the first, then each new one, until the saga has
// ended. A stream that breaks is taken up where it was: no entry is missing, and none comes twice.
func (c *Client) Watch(ctx context.Context, id string, from int64) iter.Seq2[*pb.LogEntry, error] {
	return func(yield func(*pb.LogEntry, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		w := &watch{client: c, id: id, next: max(from, 1), yield: yield}
		pause := repeatMin
		for tries := 1; ; tries++ {
			before, at := w.next, c.at.Load()
			err := w.read(ctx)
			switch {
			case w.stopped, err == nil && w.over:
				return
			case err != nil && (status.Code(err) != codes.Unavailable || ctx.Err() != nil):
				yield(nil, errorOf(err))
				return
			}
			if w.next > before {
				tries, pause = 0, repeatMin
			}
			if err := c.next(ctx, at, max(tries, 1), &pause); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// watch is how far somebody has read a log.
type watch struct {
	client  *Client
	id      string
	next    int64
	over    bool // the saga has ended
	stopped bool // nobody wants more
	yield   func(*pb.LogEntry, error) bool
}

// read reads one stream to its end; nil where the SEC ended it.
func (w *watch) read(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.client.API().WatchSaga(ctx, &pb.WatchSagaRequest{SagaId: w.id, FromSeq: w.next})
	if err != nil {
		return err
	}
	w.over = true // a stream that ends without a word has no entry left to send
	for {
		frame, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, entry := range frame.GetEntries() {
			w.next = entry.GetSeq() + 1
			if !w.yield(entry, nil) {
				w.stopped = true
				return nil
			}
		}
		switch frame.GetState() {
		case pb.SagaState_SAGA_STATE_SUCCEEDED, pb.SagaState_SAGA_STATE_UNWOUND, pb.SagaState_SAGA_STATE_QUARANTINED:
			w.over = true
		default:
			w.over = false
		}
	}
}

// List gives the sagas that a filter selects, page by page, in the order of their ids; a nil filter selects all.
func (c *Client) List(ctx context.Context, filter *pb.SagaFilter) iter.Seq2[*pb.Saga, error] {
	return func(yield func(*pb.Saga, error) bool) {
		for token := ""; ; {
			response, err := ask(ctx, c, func(api pb.SagaServiceClient) (*pb.ListSagasResponse, error) {
				return api.ListSagas(ctx, &pb.ListSagasRequest{Filter: filter, PageToken: token})
			})
			if err != nil {
				yield(nil, err)
				return
			}
			for _, saga := range response.GetSagas() {
				if !yield(saga, nil) {
					return
				}
			}
			if token = response.GetNextPageToken(); token == "" {
				return
			}
		}
	}
}

// Count says how many sagas that a filter selects are in each state that occurs; a nil filter selects all.
func (c *Client) Count(ctx context.Context, filter *pb.SagaFilter) (map[pb.SagaState]int64, error) {
	response, err := ask(ctx, c, func(api pb.SagaServiceClient) (*pb.CountSagasResponse, error) {
		return api.CountSagas(ctx, &pb.CountSagasRequest{Filter: filter})
	})
	counts := map[pb.SagaState]int64{}
	for _, each := range response.GetCounts() {
		counts[each.GetState()] = each.GetCount()
	}
	return counts, err
}

// Log gives a saga's log as it stands, from a number on, 1 being the first; Watch goes on with what comes.
func (c *Client) Log(ctx context.Context, id string, from int64) iter.Seq2[*pb.LogEntry, error] {
	return func(yield func(*pb.LogEntry, error) bool) {
		for next := max(from, 1); next > 0; {
			response, err := ask(ctx, c, func(api pb.SagaServiceClient) (*pb.GetSagaLogResponse, error) {
				return api.GetSagaLog(ctx, &pb.GetSagaLogRequest{SagaId: id, FromSeq: next})
			})
			if err != nil {
				yield(nil, err)
				return
			}
			for _, entry := range response.GetEntries() {
				if !yield(entry, nil) {
					return
				}
			}
			next = response.GetNextSeq()
		}
	}
}

// Record is what a saga is, as it was written at its creation: with the log, all there is of it.
func (c *Client) Record(ctx context.Context, id string) (*pb.SagaRecord, error) {
	response, err := ask(ctx, c, func(api pb.SagaServiceClient) (*pb.GetSagaLogResponse, error) {
		return api.GetSagaLog(ctx, &pb.GetSagaLogRequest{SagaId: id, FromSeq: 1, PageSize: 1})
	})
	return response.GetRecord(), err
}
