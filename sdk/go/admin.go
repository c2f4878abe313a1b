package sagaline

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// SECs gives the live SECs.
func (c *Client) SECs(ctx context.Context) ([]*pb.SecStatus, error) {
	response, err := askAdmin(ctx, c, func(api pb.AdminServiceClient) (*pb.ListSecsResponse, error) {
		return api.ListSecs(ctx, &pb.ListSecsRequest{})
	})
	return response.GetSecs(), err
}

// Workers gives the workers that have a session with the SEC that answers.
func (c *Client) Workers(ctx context.Context) ([]*pb.WorkerStatus, error) {
	response, err := askAdmin(ctx, c, func(api pb.AdminServiceClient) (*pb.ListWorkersResponse, error) {
		return api.ListWorkers(ctx, &pb.ListWorkersRequest{})
	})
	return response.GetWorkers(), err
}

// Explain says why the nodes of a saga wait, and warns of what will go wrong with them.
func (c *Client) Explain(ctx context.Context, id string) (*pb.ExplainSagaResponse, error) {
	return askAdmin(ctx, c, func(api pb.AdminServiceClient) (*pb.ExplainSagaResponse, error) {
		return api.ExplainSaga(ctx, &pb.ExplainSagaRequest{SagaId: id})
	})
}

// HandOff makes another SEC the owner of a saga: the one of that name, or with "" the one that placement prefers. It is never
// repeated by itself.
func (c *Client) HandOff(ctx context.Context, id, toSEC string) (*pb.HandOffResponse, error) {
	return once(ctx, c, func(conn grpc.ClientConnInterface) (*pb.HandOffResponse, error) {
		return pb.NewAdminServiceClient(conn).HandOff(ctx, &pb.HandOffRequest{SagaId: id, ToSecId: toSEC})
	})
}

// DrainSEC makes a SEC hand off everything and stop; with "" the one that answers. It is never repeated by itself.
func (c *Client) DrainSEC(ctx context.Context, sec string, within time.Duration) error {
	_, err := once(ctx, c, func(conn grpc.ClientConnInterface) (*pb.DrainSecResponse, error) {
		return pb.NewAdminServiceClient(conn).DrainSec(ctx, &pb.DrainSecRequest{SecId: sec, Timeout: durationpb.New(within)})
	})
	return err
}

// ScopeLimit bounds the sagas of a scope over the whole cluster. Nil is no bound.
type ScopeLimit struct {
	// MaxRunning: sagas that may run at once; others wait before their first start.
	MaxRunning *int32
	// MaxFailing: once so many unwind or need an operator, new ones wait.
	MaxFailing *int32
}

// SetScopeLimit sets the limit of a scope such as "rack/17". Those that have started go on.
func (c *Client) SetScopeLimit(ctx context.Context, scope string, limit ScopeLimit) (*pb.Limit, error) {
	return c.setLimit(ctx, &pb.Limit{
		Subject: &pb.Limit_Scope{Scope: scope}, MaxRunning: limit.MaxRunning, MaxFailing: limit.MaxFailing,
	})
}

// ActionLimit bounds the attempts of an action over the whole cluster. Nil is no bound. Undo is never bounded.
type ActionLimit struct {
	// MaxInFlight: attempts at once.
	MaxInFlight *int32
	// StartsPerSecond: attempts that may start in a second.
	StartsPerSecond *float64
}

// SetActionLimit sets the limit of an action, of whatever version.
func (c *Client) SetActionLimit(ctx context.Context, action string, limit ActionLimit) (*pb.Limit, error) {
	return c.setLimit(ctx, &pb.Limit{
		Subject: &pb.Limit_Action{Action: action}, MaxInFlight: limit.MaxInFlight, StartsPerSecond: limit.StartsPerSecond,
	})
}

func (c *Client) setLimit(ctx context.Context, limit *pb.Limit) (*pb.Limit, error) {
	response, err := askAdmin(ctx, c, func(api pb.AdminServiceClient) (*pb.SetLimitResponse, error) {
		return api.SetLimit(ctx, &pb.SetLimitRequest{Limit: limit})
	})
	return response.GetLimit(), err
}

// Limits gives the limits on scopes and actions.
func (c *Client) Limits(ctx context.Context) ([]*pb.Limit, error) {
	response, err := askAdmin(ctx, c, func(api pb.AdminServiceClient) (*pb.ListLimitsResponse, error) {
		return api.ListLimits(ctx, &pb.ListLimitsRequest{})
	})
	return response.GetLimits(), err
}

// SetActionBreakpoint holds every start of an action, in every saga on every SEC, until a step lets it pass or the breakpoint
// is cleared; it stays over restarts. Without a kind it is for both sides. Who and why are required.
func (c *Client) SetActionBreakpoint(ctx context.Context, action string, kind pb.InvocationKind, by By) (*pb.ActionBreakpoint, error) {
	point := &pb.ActionBreakpoint{Action: action, Kind: kind, Actor: by.Actor, Reason: by.Reason}
	response, err := askAdmin(ctx, c, func(api pb.AdminServiceClient) (*pb.SetActionBreakpointResponse, error) {
		return api.SetActionBreakpoint(ctx, &pb.SetActionBreakpointRequest{Breakpoint: point})
	})
	return response.GetBreakpoint(), err
}

// ClearActionBreakpoint clears the breakpoint on an action; what it held goes on.
func (c *Client) ClearActionBreakpoint(ctx context.Context, action string) error {
	_, err := askAdmin(ctx, c, func(api pb.AdminServiceClient) (*pb.ClearActionBreakpointResponse, error) {
		return api.ClearActionBreakpoint(ctx, &pb.ClearActionBreakpointRequest{Action: action})
	})
	return err
}

// ActionBreakpoints gives the breakpoints on actions.
func (c *Client) ActionBreakpoints(ctx context.Context) ([]*pb.ActionBreakpoint, error) {
	response, err := askAdmin(ctx, c, func(api pb.AdminServiceClient) (*pb.ListActionBreakpointsResponse, error) {
		return api.ListActionBreakpoints(ctx, &pb.ListActionBreakpointsRequest{})
	})
	return response.GetBreakpoints(), err
}

// Quarantine sets a saga aside: nothing of it starts until it is released, and results are still logged. Who and why are
// required.
func (c *Client) Quarantine(ctx context.Context, id string, by By) (*pb.Saga, error) {
	response, err := askAdmin(ctx, c, func(api pb.AdminServiceClient) (*pb.QuarantineSagaResponse, error) {
		return api.QuarantineSaga(ctx, &pb.QuarantineSagaRequest{SagaId: id, Actor: by.Actor, Reason: by.Reason})
	})
	return response.GetSaga(), err
}

// Release takes a saga back into service that was set aside. Who and why are required.
func (c *Client) Release(ctx context.Context, id string, by By) (*pb.Saga, error) {
	response, err := askAdmin(ctx, c, func(api pb.AdminServiceClient) (*pb.ReleaseSagaResponse, error) {
		return api.ReleaseSaga(ctx, &pb.ReleaseSagaRequest{SagaId: id, Actor: by.Actor, Reason: by.Reason})
	})
	return response.GetSaga(), err
}
