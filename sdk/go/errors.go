package sagaline

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Reasons of errors: the stable codes of `ErrorInfo`. A program treats one that it does not know by its status code.
const (
	ReasonSagaNotFound      = "SAGA_NOT_FOUND"
	ReasonNodeNotFound      = "NODE_NOT_FOUND"
	ReasonAlreadyExists     = "SAGA_ALREADY_EXISTS"
	ReasonSagaFinished      = "SAGA_FINISHED"
	ReasonNodeNotResolvable = "NODE_NOT_RESOLVABLE"
	ReasonSagaChanged       = "SAGA_CHANGED"
	ReasonSECNotFound       = "SEC_NOT_FOUND"
	ReasonQuarantined       = "SAGA_QUARANTINED"
	ReasonLogCompacted      = "LOG_COMPACTED"
	ReasonNoOtherSEC        = "NO_OTHER_SEC"
	ReasonInvalidRequest    = "INVALID_REQUEST"
	ReasonOverloaded        = "OVERLOADED"
	ReasonNotServing        = "NOT_SERVING"
	ReasonUnauthenticated   = "UNAUTHENTICATED"
	ReasonPermissionDenied  = "PERMISSION_DENIED"
)

// Error is an error of the API. errors.Is finds one by its Reason: errors.Is(err, &Error{Reason: ReasonSagaNotFound}).
type Error struct {
	Code codes.Code
	// Reason is a stable code; "" where the call did not reach a SEC.
	Reason  string
	Message string
	// Problems by field, of a request that is refused as a whole; or by subject, what would have to hold for it.
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
			for _, violation := range detail.GetFieldViolations() {
				e.problem(violation.GetField(), violation.GetDescription())
			}
		case *errdetails.PreconditionFailure:
			for _, violation := range detail.GetViolations() {
				e.problem(violation.GetSubject(), violation.GetDescription())
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = detail.GetRetryDelay().AsDuration()
		}
	}
	return e
}

// errorOfBatch is the error of one saga among many: the same as had it been asked for alone.
func errorOfBatch(problem *pb.BatchError) error {
	e := &Error{Code: codes.Code(problem.GetCode()), Reason: problem.GetReason(), Message: problem.GetMessage()}
	for _, each := range problem.GetProblems() {
		e.problem(each.GetField(), each.GetMessage())
	}
	return e
}

func (e *Error) problem(where, what string) {
	if e.Problems == nil {
		e.Problems = map[string]string{}
	}
	e.Problems[where] = what
}
