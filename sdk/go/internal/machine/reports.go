package machine

import (
	"google.golang.org/protobuf/proto"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// reports holds what is still to be reported on one stream. States are looked up when a frame is made, not when they
// were asked for: `complete` speaks of everything up to the ack_sequence of its frame (W35).
type reports struct {
	holdings   *Holdings
	asked      []Ref
	everything bool
	of         string // whose attempts "everything" is about; "": all
	told       map[Ref]bool
}

func (r *reports) pending() bool { return r.everything || len(r.asked) > 0 }

// clear: what was asked on an old stream is answered by hello.
func (r *reports) clear() { r.asked, r.everything = nil, false }

// tellAll reports all that is held of a SEC, or with "" of all. A report of all that is not told in full yet stays one.
func (r *reports) tellAll(of string) {
	if !r.everything || r.of != "" {
		r.of = of
	}
	r.everything = true
	r.told = map[Ref]bool{}
}

// about reports these attempts, held or not.
func (r *reports) about(refs ...Ref) {
	r.asked = append(r.asked, refs...)
	if excess := len(r.asked) - askedMax; excess > 0 {
		r.asked = r.asked[excess:]
	}
}

// take gives the next part within a budget of bytes; only the last part of everything is complete (W37).
func (r *reports) take(budget int) (*pb.InFlightReport, int) {
	report := &pb.InFlightReport{}
	add := func(ref Ref, state pb.InFlightState) bool {
		entry := &pb.InFlightEntry{Ref: ref.message(), State: state}
		size := proto.Size(entry) + itemOverhead
		if size > budget {
			return false
		}
		budget -= size
		report.Entries = append(report.Entries, entry)
		return true
	}
	for len(r.asked) > 0 {
		if !add(r.asked[0], r.holdings.stateOf(r.asked[0])) {
			return report, budget
		}
		r.asked = r.asked[1:]
	}
	if r.everything {
		for ref, state := range r.holdings.report(r.of) {
			if r.told[ref] {
				continue
			}
			if !add(ref, state) {
				return report, budget
			}
			r.told[ref] = true
		}
		report.Complete = true
		r.everything, r.told = false, nil
	}
	return report, budget
}
