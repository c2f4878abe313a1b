package sagaline

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Client talks to SECs. It is good for any number of goroutines.
type Client struct {
	conns []*grpc.ClientConn
	at    atomic.Uint64 // which one answered last
	runs  *sharedRuns
	// patience is how long calls are repeated, and streams opened anew, while no SEC can be had.
	patience time.Duration
}

// ClientConfig is what a client is made of.
type ClientConfig struct {
	// Addresses of SECs, "host:port", with commas between them. When one is not to be had the next is asked. Required.
	Addresses string
	// Credentials for TLS; nil: plain text.
	Credentials credentials.TransportCredentials
	// PerRPCCredentials are shown with every call and stream: a [Token], a [TokenFile], or any others; nil: none.
	PerRPCCredentials credentials.PerRPCCredentials
}

// NewClient makes a client; it connects when it is used. Close it.
func NewClient(config ClientConfig) (*Client, error) {
	addresses, err := splitAddresses(config.Addresses)
	if err != nil {
		return nil, err
	}
	if err := checkCredentials(config.Credentials, config.PerRPCCredentials); err != nil {
		return nil, err
	}
	c := &Client{patience: patience}
	c.runs = newSharedRuns(c)
	for _, address := range addresses {
		conn, err := dial(address, config.Credentials, config.PerRPCCredentials)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.conns = append(c.conns, conn)
	}
	return c, nil
}

// Close closes the connections; what is under way ends with an error.
func (c *Client) Close() error {
	c.runs.close()
	var problems []error
	for _, conn := range c.conns {
		problems = append(problems, conn.Close())
	}
	return errors.Join(problems...)
}

// API is the generated client of one SEC, for what this package does not wrap.
func (c *Client) API() pb.SagaServiceClient { return pb.NewSagaServiceClient(c.conn()) }

// AdminAPI is the generated client for operators of one SEC, for what this package does not wrap.
func (c *Client) AdminAPI() pb.AdminServiceClient { return pb.NewAdminServiceClient(c.conn()) }

func (c *Client) conn() *grpc.ClientConn { return c.conns[c.at.Load()%uint64(len(c.conns))] }

// Bounds of repeating a call that no SEC could be had for.
const (
	patience  = 30 * time.Second
	repeatMin = 50 * time.Millisecond
	repeatMax = 2 * time.Second
)

// ask calls until a SEC answers, for calls that may be repeated. It asks the SECs in turn, for 30 s at most.
func ask[Response any](ctx context.Context, c *Client, method func(pb.SagaServiceClient) (Response, error)) (Response, error) {
	return repeat(ctx, c, func() (Response, error) { return method(c.API()) })
}

// askAdmin is ask for what operators use.
func askAdmin[Response any](ctx context.Context, c *Client, method func(pb.AdminServiceClient) (Response, error)) (Response, error) {
	return repeat(ctx, c, func() (Response, error) { return method(c.AdminAPI()) })
}

func repeat[Response any](ctx context.Context, c *Client, call func() (Response, error)) (Response, error) {
	until, pause := now().Add(c.patience), repeatMin
	for tries := 1; ; tries++ {
		at := c.at.Load()
		response, err := call()
		if status.Code(err) != codes.Unavailable || now().After(until) {
			return response, errorOf(err)
		}
		if err := c.next(ctx, at, tries, &pause); err != nil {
			return response, err
		}
	}
}

// next turns to the next SEC, unless another call has done so since at was read, after a pause where all of them were asked.
func (c *Client) next(ctx context.Context, at uint64, tries int, pause *time.Duration) error {
	c.at.CompareAndSwap(at, at+1)
	if tries%len(c.conns) != 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return errorOf(status.FromContextError(ctx.Err()).Err())
	case <-time.After(*pause):
		*pause = min(2**pause, repeatMax)
		return nil
	}
}

// reached finds a SEC to which there is a connection, for what must not be done twice: such a call is sent once, and only
// what was never sent goes to the next SEC.
func (c *Client) reached(ctx context.Context) (*grpc.ClientConn, error) {
	until, pause := now().Add(c.patience), repeatMin
	for tries := 1; ; tries++ {
		at := c.at.Load()
		conn := c.conn()
		conn.Connect()
		state := conn.GetState()
		for (state == connectivity.Idle || state == connectivity.Connecting) && conn.WaitForStateChange(ctx, state) {
			state = conn.GetState()
		}
		if state == connectivity.Ready {
			return conn, nil
		}
		if now().After(until) {
			return nil, &Error{Code: codes.Unavailable, Message: "no SEC can be reached at " + conn.Target()}
		}
		if err := c.next(ctx, at, tries, &pause); err != nil {
			return nil, err
		}
	}
}

// once asks a SEC what must not be done twice.
func once[Response any](ctx context.Context, c *Client, method func(grpc.ClientConnInterface) (Response, error)) (Response, error) {
	conn, err := c.reached(ctx)
	if err != nil {
		var none Response
		return none, err
	}
	response, err := method(conn)
	return response, errorOf(err)
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
	spec, err := specOf(graph, params, options)
	if err != nil {
		return nil, err
	}
	response, err := ask(ctx, c, func(api pb.SagaServiceClient) (*pb.CreateSagaResponse, error) {
		return api.CreateSaga(ctx, &pb.CreateSagaRequest{Saga: spec})
	})
	if err != nil {
		return nil, err
	}
	return &Handle[R]{c, response.GetSaga().GetSagaId()}, nil
}

func specOf[P, R any](graph *Graph[P, R], params P, options SagaOptions) (*pb.SagaSpec, error) {
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
	return spec, nil
}

// Run creates a saga and waits for its result, as [Handle.Result] does: one call, where the saga ends within a minute. Where
// many run at once, those beyond a few share one stream; each hears what a call of its own would tell.
func Run[P, R any](ctx context.Context, c *Client, graph *Graph[P, R], params P, options SagaOptions) (result R, err error) {
	spec, err := specOf(graph, params, options)
	if err != nil {
		return result, err
	}
	saga, err := c.runs.run(ctx, spec, func() (*pb.Saga, error) {
		request := &pb.RunSagaRequest{Saga: spec, Timeout: durationpb.New(time.Minute), OrNeedsOperator: true}
		response, err := ask(ctx, c, func(api pb.SagaServiceClient) (*pb.RunSagaResponse, error) { return api.RunSaga(ctx, request) })
		if saga := response.GetSaga(); err != nil || isOver(saga) || saga.GetNeedsOperator() {
			return saga, err
		}
		return c.WaitOrOperator(ctx, spec.GetSagaId())
	})
	if err != nil {
		return result, err
	}
	return Find[R](c, spec.GetSagaId()).resultOf(saga)
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

// Result waits until the saga has ended and gives its result; of one that unwound, an [UnwoundError]. Where only an operator
// can bring the saga further it gives a [NeedsOperatorError]: once that is done, Result can be asked again.
func (h *Handle[R]) Result(ctx context.Context) (result R, err error) {
	saga, err := h.client.WaitOrOperator(ctx, h.id)
	if err != nil {
		return result, err
	}
	return h.resultOf(saga)
}

func (h *Handle[R]) resultOf(saga *pb.Saga) (result R, err error) {
	switch {
	case saga.GetState() == pb.SagaState_SAGA_STATE_SUCCEEDED:
		return result, DecodePayload(saga.GetOutput(), &result)
	case saga.GetState() == pb.SagaState_SAGA_STATE_UNWOUND:
		return result, &UnwoundError{h.id, saga.GetFailedNode(), failureInfo(saga.GetFailure())}
	}
	return result, &NeedsOperatorError{h.id, failureInfo(saga.GetFailure())}
}

// NeedsOperatorError says that only an operator can bring a saga further: it is stuck, holds a node, or is quarantined.
// What led to it is in its chain, as far as that is known.
type NeedsOperatorError struct {
	SagaID  string
	Failure *FailureInfo
}

func (e *NeedsOperatorError) Error() string {
	if e.Failure == nil {
		return "saga " + e.SagaID + " needs an operator"
	}
	return fmt.Sprintf("saga %s needs an operator: %v", e.SagaID, e.Failure)
}

// Unwrap is the failure.
func (e *NeedsOperatorError) Unwrap() error {
	if e.Failure == nil {
		return nil
	}
	return e.Failure
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
