package machine

import (
	"slices"
	"strings"
	"time"
)

// callLane is what the lane of a call begins with. No SEC has such a name: there is a space in it.
const callLane = "call "

type callState struct {
	underWay  bool
	failures  int
	notBefore time.Time
}

// routes knows which way a result takes: to the owner on a stream, to the owner's address by a call, or to any SEC, which
// answers with the owner's name. A lane is where a result is queued: a SEC's name, or callLane and an address.
type routes struct {
	open      []string
	addresses *ordered[string, string]
	calls     map[string]*callState
	turn      int
	// linked says of an address whether streams to it are held or tried: where these can't be had, a call would fail too.
	linked func(address string) bool
}

func newRoutes() *routes {
	return &routes{
		addresses: newOrdered[string, string](),
		calls:     map[string]*callState{},
		linked:    func(string) bool { return false },
	}
}

func (r *routes) opened(sec string) {
	if !r.isOpen(sec) {
		r.open = append(r.open, sec)
	}
}

func (r *routes) closed(sec string) {
	r.open = slices.DeleteFunc(r.open, func(other string) bool { return other == sec })
}

func (r *routes) isOpen(sec string) bool { return slices.Contains(r.open, sec) }

func (r *routes) learn(sec, address string) {
	if sec != "" && address != "" {
		r.addresses.put(sec, address)
		r.addresses.trim(addressesMax)
	}
}

// laneTo is the lane for a result of an owner, who may be unknown; "" while there is no way at all.
func (r *routes) laneTo(owner string, now time.Time) string {
	if r.isOpen(owner) {
		return owner
	}
	if address, known := r.addresses.get(owner); known && !r.linked(address) && r.mayCall(address, now) {
		return callLane + address
	}
	if len(r.open) == 0 {
		return ""
	}
	r.turn = (r.turn + 1) % len(r.open)
	return r.open[r.turn]
}

func (r *routes) mayCall(address string, now time.Time) bool {
	call := r.calls[address]
	return call == nil || !now.Before(call.notBefore)
}

// beginCall says whether a call may be made now, and counts it as made: one at a time to an address, and few at all.
func (r *routes) beginCall(address string) bool {
	underWay := 0
	for _, call := range r.calls {
		if call.underWay {
			underWay++
		}
	}
	call := r.calls[address]
	if underWay >= callsMax || (call != nil && call.underWay) {
		return false
	}
	if call == nil {
		call = &callState{}
		r.calls[address] = call
	}
	call.underWay = true
	return true
}

// endCall lets the next call wait, longer each time, after one without an answer.
func (r *routes) endCall(address string, answered bool, now time.Time) {
	if answered {
		delete(r.calls, address)
		return
	}
	if call := r.calls[address]; call != nil {
		call.underWay = false
		call.failures++
		call.notBefore = now.Add(searchDelay(call.failures))
	}
}

func calledAddress(lane string) (string, bool) { return strings.CutPrefix(lane, callLane) }
