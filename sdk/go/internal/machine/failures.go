package machine

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Bounds of failure.proto, kept by cutting (W31).
const (
	failureTypeBytes    = 128
	failureMessageBytes = 4 << 10
	failureStackBytes   = 16 << 10
	failureDetailsMax   = 4
	failureDetailsBytes = 16 << 10
	failureDepthMax     = 4
)

// PayloadTooLarge is the failure of an attempt whose output can't be sent: its effect stands, so an operator decides.
func PayloadTooLarge(what string, size, most int) *pb.Failure {
	return &pb.Failure{
		Type:        "sagaline.PayloadTooLarge",
		Message:     fmt.Sprintf("%s has %d bytes encoded, and %d are allowed; pass a reference to it instead", what, size, most),
		Disposition: pb.FailureDisposition_FAILURE_DISPOSITION_HOLD,
		Source:      pb.FailureSource_FAILURE_SOURCE_CONVERSION,
	}
}

// bounded cuts a failure to its limits and to a number of bytes in all; what helps least goes first.
func bounded(failure *pb.Failure, most int) *pb.Failure {
	failure = proto.CloneOf(failure)
	cutFailure(failure, 1)
	for _, drop := range []func(){
		func() { failure.Details = nil },
		func() { failure.Cause = nil },
		func() { failure.StackTrace = "" },
	} {
		if proto.Size(failure) <= most {
			break
		}
		drop()
	}
	return failure
}

func cutFailure(f *pb.Failure, depth int) {
	f.Type = cutText(f.Type, failureTypeBytes)
	f.Message = cutText(f.Message, failureMessageBytes)
	f.StackTrace = cutText(f.StackTrace, failureStackBytes)
	bytes := 0
	for i, detail := range f.Details {
		if bytes += proto.Size(detail); i >= failureDetailsMax || bytes > failureDetailsBytes {
			f.Details = f.Details[:i]
			break
		}
	}
	if depth >= failureDepthMax {
		f.Cause = nil
	} else if f.Cause != nil {
		cutFailure(f.Cause, depth+1)
	}
}

// cutText cuts to a number of bytes, between characters; what is no UTF-8 becomes "?", for no message could carry it.
func cutText(text string, most int) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// resultOf is the result of an attempt. What can't be sent whole is told as a failure instead.
func resultOf(attempt *Attempt, outcome Outcome, payloadBytes int) *pb.InvocationResult {
	result := &pb.InvocationResult{Ref: attempt.Invocation.Ref, Epoch: attempt.epoch}
	failure := outcome.Failure
	if failure == nil {
		size := proto.Size(outcome.Output)
		if size <= payloadBytes {
			output := outcome.Output
			if output == nil {
				output = &pb.Payload{}
			}
			result.Outcome = &pb.InvocationResult_Output{Output: output}
			return result
		}
		failure = PayloadTooLarge("the output", size, payloadBytes)
	}
	result.Outcome = &pb.InvocationResult_Failure{Failure: bounded(failure, payloadBytes)}
	return result
}
