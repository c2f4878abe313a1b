package sagaline

import (
	"context"
	"iter"

	"google.golang.org/grpc"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

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

// Pause holds every start of an action or undo action of a saga. What is in flight goes on.
func (c *Client) Pause(ctx context.Context, id string, by By) (*pb.Saga, error) {
	response, err := ask(ctx, c, func(api pb.SagaServiceClient) (*pb.PauseSagaResponse, error) {
		return api.PauseSaga(ctx, &pb.PauseSagaRequest{SagaId: id, By: by.message()})
	})
	return response.GetSaga(), err
}

// Resume ends a pause.
func (c *Client) Resume(ctx context.Context, id string, by By) (*pb.Saga, error) {
	response, err := ask(ctx, c, func(api pb.SagaServiceClient) (*pb.ResumeSagaResponse, error) {
		return api.ResumeSaga(ctx, &pb.ResumeSagaRequest{SagaId: id, By: by.message()})
	})
	return response.GetSaga(), err
}

// Step lets a number of starts pass the gate of a saga that is paused or has breakpoints, beside those that are left. It is
// never repeated by itself.
func (c *Client) Step(ctx context.Context, id string, steps int, by By) (*pb.Saga, error) {
	response, err := once(ctx, c, func(conn grpc.ClientConnInterface) (*pb.StepSagaResponse, error) {
		return pb.NewSagaServiceClient(conn).StepSaga(ctx, &pb.StepSagaRequest{SagaId: id, Steps: int32(steps), By: by.message()})
	})
	return response.GetSaga(), err
}

// SetBreakpoints replaces a saga's breakpoints: where its gate holds every start until a step lets it pass. A breakpoint
// names a node, a subsaga with every node in it, or "*" for every node; without a kind it is for both sides.
func (c *Client) SetBreakpoints(ctx context.Context, id string, points []*pb.Breakpoint, by By) (*pb.Saga, error) {
	response, err := ask(ctx, c, func(api pb.SagaServiceClient) (*pb.SetBreakpointsResponse, error) {
		return api.SetBreakpoints(ctx, &pb.SetBreakpointsRequest{SagaId: id, Breakpoints: points, By: by.message()})
	})
	return response.GetSaga(), err
}

// BatchControl pauses, resumes or unwinds every unfinished saga that a filter selects, page by page: each page says which
// obeyed, and which refused with what reason. It is safe to repeat. The filter must select something.
func (c *Client) BatchControl(ctx context.Context, filter *pb.SagaFilter, control pb.BatchControl, by By) iter.Seq2[*pb.BatchControlSagasResponse, error] {
	return func(yield func(*pb.BatchControlSagasResponse, error) bool) {
		for token := ""; ; {
			request := &pb.BatchControlSagasRequest{Filter: filter, Control: control, By: by.message(), PageToken: token}
			response, err := ask(ctx, c, func(api pb.SagaServiceClient) (*pb.BatchControlSagasResponse, error) {
				return api.BatchControlSagas(ctx, request)
			})
			if !yield(response, err) || err != nil {
				return
			}
			if token = response.GetNextPageToken(); token == "" {
				return
			}
		}
	}
}

// InjectFault makes later attempts of a node go wrong, for tests; only where the server allows it. It is never repeated by
// itself.
func (c *Client) InjectFault(ctx context.Context, id, node string, fault pb.FaultKind, times int, by By) (*pb.Saga, error) {
	request := &pb.InjectFaultRequest{SagaId: id, Node: node, Fault: fault, Times: int32(times), By: by.message()}
	response, err := once(ctx, c, func(conn grpc.ClientConnInterface) (*pb.InjectFaultResponse, error) {
		return pb.NewSagaServiceClient(conn).InjectFault(ctx, request)
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
// SUPPLY_OUTPUT alone, and nil otherwise. It is never repeated by itself: a decision that arrived twice could meet the node
// after its next failure.
func (c *Client) Resolve(ctx context.Context, id, node string, resolution pb.Resolution, output any, by By) (*pb.Saga, error) {
	return c.resolve(ctx, &pb.ResolveNodeRequest{SagaId: id, Node: node, Resolution: resolution, By: by.message()}, output)
}

// ResolveIfUnchanged is Resolve, but refused with ReasonSagaChanged if the saga's log has grown beyond logLength: GetLogLength of
// the saga that the decision rests on.
func (c *Client) ResolveIfUnchanged(
	ctx context.Context, id, node string, logLength int64, resolution pb.Resolution, output any, by By,
) (*pb.Saga, error) {
	return c.resolve(ctx, &pb.ResolveNodeRequest{
		SagaId: id, Node: node, Resolution: resolution, By: by.message(), ExpectedLogLength: logLength,
	}, output)
}

func (c *Client) resolve(ctx context.Context, request *pb.ResolveNodeRequest, output any) (*pb.Saga, error) {
	if output != nil {
		payload, err := EncodePayload(output)
		if err != nil {
			return nil, err
		}
		request.Output = payload
	}
	response, err := once(ctx, c, func(conn grpc.ClientConnInterface) (*pb.ResolveNodeResponse, error) {
		return pb.NewSagaServiceClient(conn).ResolveNode(ctx, request)
	})
	return response.GetSaga(), err
}
