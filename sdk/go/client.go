package sagaline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Reasons of errors: the stable codes of `ErrorInfo`. A program treats one that it does not know by its status code.
const (
	ReasonSagaNotFound      = "SAGA_NOT_FOUND"
	ReasonNodeNotFound      = "NODE_NOT_FOUND"
	ReasonAlreadyExists     = "SAGA_ALREADY_EXISTS"
	ReasonSagaFinished      = "SAGA_FINISHED"
	ReasonNodeNotResolvable = "NODE_NOT_RESOLVABLE"
	ReasonInvalidRequest    = "INVALID_REQUEST"
	ReasonOverloaded        = "OVERLOADED"
	ReasonNotServing        = "NOT_SERVING"
)

// Error is an error of the API. errors.Is finds one by its Reason: errors.Is(err, &Error{Reason: ReasonSagaNotFound}).
type Error struct {
	Code codes.Code
	// Reason is a stable code; "" where the call did not reach a SEC.
	Reason  string
	Message string
	// Problems by field, of a request that is refused as a whole.
	Problems map[string]string
	// RetryAfter is when to try again, where the SEC says so.
	RetryAfter time.Duration
}

func (e *Error) Error() string {
	text := fmt.Sprintf("sagaline: %s: %s", e.Code, e.Message)
	if e.Reason != "" {
		text = fmt.Sprintf("sagaline: %s: %s", e.Reason, e.Message)
	}
	for field, problem := range e.Problems {
		text += fmt.Sprintf("; %s: %s", field, problem)
	}
	return text
}

// Is compares reasons.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Reason != "" && other.Reason == e.Reason
}

// GRPCStatus lets status.Code find the code.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

// Unwrap lets errors.Is find context.Canceled and context.DeadlineExceeded.
func (e *Error) Unwrap() error {
	switch e.Code {
	case codes.Canceled:
		return context.Canceled
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	}
	return nil
}

func errorOf(err error) error {
	if err == nil {
		return nil
	}
	s := status.Convert(err)
	e := &Error{Code: s.Code(), Message: s.Message()}
	for _, detail := range s.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			e.Reason = detail.GetReason()
		case *errdetails.BadRequest:
			e.Problems = map[string]string{}
			for _, violation := range detail.GetFieldViolations() {
				e.Problems[violation.GetField()] = violation.GetDescription()
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = detail.GetRetryDelay().AsDuration()
		}
	}
	return e
}

// Client talks to SECs. It is good for any number of goroutines.
type Client struct {
	conns []*grpc.ClientConn
	at    atomic.Uint64 // which one answered last
}

// ClientConfig is what a client is made of.
type ClientConfig struct {
	// Addresses of SECs, "host:port", with commas between them. When one is not to be had the next is asked. Required.
	Addresses string
	// Credentials for TLS; nil: plain text.
	Credentials credentials.TransportCredentials
}

// NewClient makes a client; it connects when it is used. Close it.
func NewClient(config ClientConfig) (*Client, error) {
	addresses, err := splitAddresses(config.Addresses)
	if err != nil {
		return nil, err
	}
	c := &Client{}
	for _, address := range addresses {
		conn, err := dial(address, config.Credentials)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.conns = append(c.conns, conn)
	}
	return c, nil
}

// Close closes the connections.
func (c *Client) Close() error {
	var problems []error
	for _, conn := range c.conns {
		problems = append(problems, conn.Close())
	}
	return errors.Join(problems...)
}

// API is the generated client of one SEC, for what this package does not wrap.
func (c *Client) API() pb.SagaServiceClient {
	return pb.NewSagaServiceClient(c.conns[c.at.Load()%uint64(len(c.conns))])
}

// Bounds of repeating a call that no SEC could be had for.
const (
	repeatTime = 30 * time.Second
	repeatMin  = 50 * time.Millisecond
	repeatMax  = 2 * time.Second
)

// ask calls until a SEC answers: every call may be repeated. It asks the SECs in turn, for 30 s at most.
func ask[Response any](ctx context.Context, c *Client, method func(pb.SagaServiceClient) (Response, error)) (Response, error) {
	until, pause := now().Add(repeatTime), repeatMin
	for tries := 1; ; tries++ {
		response, err := method(c.API())
		if status.Code(err) != codes.Unavailable || now().After(until) {
			return response, errorOf(err)
		}
		c.at.Add(1)
		if tries%len(c.conns) != 0 {
			continue // not all of them were asked yet
		}
		select {
		case <-ctx.Done():
			return response, errorOf(status.FromContextError(ctx.Err()).Err())
		case <-time.After(pause):
			pause = min(2*pause, repeatMax)
		}
	}
}

// SagaOptions are what a saga has beside its graph and parameters.
type SagaOptions struct {
	// ID of the saga, and the idempotency key of its creation. "": a new UUIDv7, made here, so that repeating is safe.
	ID           string
	Labels       map[string]string
	Scopes       []string
	Deadline     time.Duration
	StartDelay   time.Duration
	StartPaused  bool
	TraceContext map[string]string
}

// Create creates a saga and starts it: it is durable when this returns. The same id with the same content gives the
// saga that is there.
func Create[P, R any](ctx context.Context, c *Client, graph *Graph[P, R], params P, options SagaOptions) (*Handle[R], error) {
	payload, err := EncodePayload(params)
	if err != nil {
		return nil, err
	}
	spec := &pb.SagaSpec{
		SagaId: options.ID, Graph: graph.message, Params: payload, Labels: options.Labels, Scopes: options.Scopes,
		Deadline: positive(options.Deadline), StartDelay: positive(options.StartDelay),
		StartPaused: options.StartPaused, TraceContext: options.TraceContext,
	}
	if spec.SagaId == "" {
		spec.SagaId = newUUIDv7()
	}
	response, err := ask(ctx, c, func(api pb.SagaServiceClient) (*pb.CreateSagaResponse, error) {
		return api.CreateSaga(ctx, &pb.CreateSagaRequest{Saga: spec})
	})
	if err != nil {
		return nil, err
	}
	return &Handle[R]{c, response.GetSaga().GetSagaId()}, nil
}

// Run creates a saga and waits for its result.
func Run[P, R any](ctx context.Context, c *Client, graph *Graph[P, R], params P, options SagaOptions) (R, error) {
	handle, err := Create(ctx, c, graph, params, options)
	if err != nil {
		var none R
		return none, err
	}
	return handle.Result(ctx)
}

// Handle is a saga whose result is of type R.
type Handle[R any] struct {
	client *Client
	id     string
}

// Find makes a handle of a saga that exists.
func Find[R any](c *Client, id string) *Handle[R] { return &Handle[R]{c, id} }

// ID of the saga.
func (h *Handle[R]) ID() string { return h.id }

// Result waits until the saga has ended and gives its result; of one that unwound, an [UnwoundError].
func (h *Handle[R]) Result(ctx context.Context) (result R, err error) {
	saga, err := h.client.Wait(ctx, h.id)
	if err != nil {
		return result, err
	}
	if saga.GetState() != pb.SagaState_SAGA_STATE_SUCCEEDED {
		return result, &UnwoundError{h.id, saga.GetFailedNode(), failureInfo(saga.GetFailure())}
	}
	return result, DecodePayload(saga.GetOutput(), &result)
}

// UnwoundError says that a saga has unwound; what led to it is in its chain.
type UnwoundError struct {
	SagaID, FailedNode string
	Failure            *FailureInfo
}

func (e *UnwoundError) Error() string {
	if e.Failure == nil {
		return "saga " + e.SagaID + " was unwound"
	}
	return fmt.Sprintf("saga %s was unwound: %s: %v", e.SagaID, e.FailedNode, e.Failure)
}

// Unwrap is the failure.
func (e *UnwoundError) Unwrap() error {
	if e.Failure == nil {
		return nil
	}
	return e.Failure
}

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
	for {
		response, err := ask(ctx, c, func(api pb.SagaServiceClient) (*pb.WaitSagaResponse, error) {
			return api.WaitSaga(ctx, &pb.WaitSagaRequest{SagaId: id, Timeout: durationpb.New(time.Minute)})
		})
		if err != nil || isOver(response.GetSaga()) {
			return response.GetSaga(), err
		}
	}
}

// Watch gives every entry of a saga's log from a number on, 1 being the first, then each new one, until the saga has
// ended. A stream that breaks is taken up where it was.
func (c *Client) Watch(ctx context.Context, id string, from int64) iter.Seq2[*pb.LogEntry, error] {
	return func(yield func(*pb.LogEntry, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		for next := max(from, 1); ; {
			stream, err := ask(ctx, c, func(api pb.SagaServiceClient) (grpc.ServerStreamingClient[pb.WatchSagaResponse], error) {
				return api.WatchSaga(ctx, &pb.WatchSagaRequest{SagaId: id, FromSeq: next})
			})
			for err == nil {
				var frame *pb.WatchSagaResponse
				if frame, err = stream.Recv(); err != nil {
					break
				}
				for _, entry := range frame.GetEntries() {
					next = entry.GetSeq() + 1
					if !yield(entry, nil) {
						return
					}
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if status.Code(err) != codes.Unavailable || ctx.Err() != nil {
				yield(nil, errorOf(err))
				return
			}
			c.at.Add(1)
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

// By says who asks and why; it is stored in the log.
type By struct{ Actor, Reason string }

func (b By) message() *pb.Attribution { return &pb.Attribution{Actor: b.Actor, Reason: b.Reason} }

// Unwind asks a saga to undo what it has done. Nodes in flight are waited for.
func (c *Client) Unwind(ctx context.Context, id string, by By) (*pb.Saga, error) {
	response, err := ask(ctx, c, func(api pb.SagaServiceClient) (*pb.UnwindSagaResponse, error) {
		return api.UnwindSaga(ctx, &pb.UnwindSagaRequest{SagaId: id, By: by.message()})
	})
	return response.GetSaga(), err
}

// Signal sends a signal to a saga's signal node, once, however often the call has to be repeated.
func (c *Client) Signal(ctx context.Context, id, signal string, value any) (*pb.Saga, error) {
	payload, err := EncodePayload(value)
	if err != nil {
		return nil, err
	}
	request := &pb.SignalSagaRequest{SagaId: id, Signal: signal, Payload: payload, RequestId: newUUIDv7()}
	response, err := ask(ctx, c, func(api pb.SagaServiceClient) (*pb.SignalSagaResponse, error) {
		return api.SignalSaga(ctx, request)
	})
	return response.GetSaga(), err
}

// Resolve decides about a node that is held, in doubt, or whose undo failed. Who and why are required; output is for
// SUPPLY_OUTPUT alone, and nil otherwise.
func (c *Client) Resolve(ctx context.Context, id, node string, resolution pb.Resolution, output any, by By) (*pb.Saga, error) {
	request := &pb.ResolveNodeRequest{SagaId: id, Node: node, Resolution: resolution, By: by.message()}
	if output != nil {
		payload, err := EncodePayload(output)
		if err != nil {
			return nil, err
		}
		request.Output = payload
	}
	response, err := ask(ctx, c, func(api pb.SagaServiceClient) (*pb.ResolveNodeResponse, error) {
		return api.ResolveNode(ctx, request)
	})
	return response.GetSaga(), err
}
