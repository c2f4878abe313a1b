package machine

import (
	"container/heap"
	"iter"
	"time"

	"google.golang.org/protobuf/proto"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// sending is where an unacknowledged result stands.
type sending int

const (
	stranded sending = iota // there is no way for it: no stream is open
	inLane                  // queued
	written                 // sent on its lane, and not answered
	parked                  // to be sent later
)

// unacked is a result without a final acknowledgement.
type unacked struct {
	ref       Ref
	owner     string // the SEC that is to take it; "" if nobody knows
	message   *pb.InvocationResult
	size      int
	lane      string
	sending   sending
	parking   int // which parking is the present one: the heap may still hold earlier ones
	redirects int // how often a SEC said that it is not the owner, since we believed to know
}

// results keeps each result until its final acknowledgement, in the order in which they came (W27). A result is worth
// the same on any SEC, and only the saga's owner can take it: it goes to the owner's stream, by a call to the owner's
// address, or on any stream, where the answer names the owner. Results of a SEC without a stream wait a little first,
// for mostly it comes back.
type results struct {
	held   *ordered[Ref, *unacked]
	lanes  map[string][]*unacked
	parked parkings
	count  int
	routes *routes
	bytes  int
	full   bool // from the moment a bound is passed until both are well below
	calls  *ordered[string, struct{}]
}

func newResults() *results {
	return &results{
		held:   newOrdered[Ref, *unacked](),
		lanes:  map[string][]*unacked{},
		routes: newRoutes(),
		calls:  newOrdered[string, struct{}](),
	}
}

func (r *results) add(ref Ref, sec string, message *pb.InvocationResult, now time.Time) {
	item := &unacked{ref: ref, owner: sec, message: message, size: proto.Size(message) + itemOverhead}
	r.held.put(ref, item)
	r.bytes += item.size
	r.judge()
	r.sendToOwner(item, now)
}

// replace says something else instead, in the same place.
func (r *results) replace(item *unacked, message *pb.InvocationResult) {
	r.bytes -= item.size
	item.message, item.size = message, proto.Size(message)+itemOverhead
	r.bytes += item.size
}

// of goes over the results that concern a SEC, or with "" over all.
func (r *results) of(sec string) iter.Seq[Ref] {
	return func(yield func(Ref) bool) {
		for ref, item := range r.held.all() {
			if (sec == "" || item.owner == sec || item.lane == sec) && !yield(ref) {
				return
			}
		}
	}
}

func final(status pb.ResultStatus) bool {
	switch status {
	case pb.ResultStatus_RESULT_STATUS_RECORDED, pb.ResultStatus_RESULT_STATUS_DUPLICATE,
		pb.ResultStatus_RESULT_STATUS_SUPERSEDED, pb.ResultStatus_RESULT_STATUS_NOT_FOUND,
		pb.ResultStatus_RESULT_STATUS_INVALID:
		return true
	}
	return false
}

// acknowledge takes the fate of a result that was told on a lane, and says whether it is forgotten because of that. A
// status that is not known here keeps it: forgetting could lose it.
func (r *results) acknowledge(ack *pb.ResultAck, lane string, now time.Time) bool {
	item, held := r.held.get(RefOf(ack.GetRef()))
	if !held {
		return false
	}
	if final(ack.GetStatus()) {
		r.held.remove(item.ref)
		r.bytes -= item.size
		r.judge()
		return true
	}
	if item.lane != lane || item.sending != written {
		return false // it has been queued again since, or goes elsewhere by now
	}
	if ack.GetStatus() == pb.ResultStatus_RESULT_STATUS_NOT_OWNER {
		r.redirect(item, ack.GetOwner(), now)
		return false
	}
	delay := retryDelay
	if ack.RetryDelay != nil {
		delay = durationOf(ack.RetryDelay)
	}
	r.park(item, now.Add(min(max(delay, retryDelayMin), retryDelayMax)))
	return false
}

// redirect heeds a SEC that names the owner: at once the first time; a search that goes on slows down.
func (r *results) redirect(item *unacked, owner *pb.Sec, now time.Time) {
	item.redirects++
	item.owner = owner.GetSecId()
	r.routes.learn(owner.GetSecId(), owner.GetAddress())
	if item.owner != "" && item.redirects == 1 {
		r.route(item, now)
	} else {
		r.park(item, now.Add(searchDelay(item.redirects)))
	}
}

// assign gives a result to a SEC that owns the saga, or is to own it.
func (r *results) assign(item *unacked, sec string, epoch int64, now time.Time) {
	if epoch > item.message.GetEpoch() {
		// What was written may still be read by whoever writes it: never changed, always replaced.
		message := proto.CloneOf(item.message)
		message.Epoch = epoch
		item.message = message
	}
	item.owner, item.redirects = sec, 0
	if item.sending != inLane || item.lane != sec {
		r.sendToOwner(item, now)
	}
}

func (r *results) reassign(owner ownerOf, now time.Time) {
	for _, item := range r.held.all() {
		if sec, epoch, moved := owner(item.ref, item.owner); moved {
			r.assign(item, sec, epoch, now)
		}
	}
}

// opened queues all that is of a SEC for its new stream, oldest first.
func (r *results) opened(sec string, now time.Time) {
	r.routes.opened(sec)
	r.lanes[sec] = nil
	for _, item := range r.held.all() {
		if item.owner == sec || (item.lane == sec && !r.routes.isOpen(item.owner)) {
			r.enqueue(item, sec)
		} else if item.sending == stranded {
			r.park(item, now.Add(astrayTime))
		}
	}
}

func (r *results) closed(sec string, now time.Time) {
	r.routes.closed(sec)
	delete(r.lanes, sec)
	for _, item := range r.held.all() {
		if item.lane == sec && (item.sending == inLane || item.sending == written) {
			r.park(item, now.Add(astrayTime))
		}
	}
}

func (r *results) hasQueued(lane string) bool {
	queue := r.lanes[lane]
	for len(queue) > 0 && !r.isDue(queue[0], lane) {
		queue = queue[1:]
	}
	if _, known := r.lanes[lane]; known {
		r.lanes[lane] = queue
	}
	return len(queue) > 0
}

// take gives the results to write next, oldest first, within a budget of bytes.
func (r *results) take(lane string, budget, most int) []*pb.InvocationResult {
	var taken []*pb.InvocationResult
	queue := r.lanes[lane]
	for len(queue) > 0 && len(taken) < most {
		if item := queue[0]; r.isDue(item, lane) {
			if item.size > budget {
				break
			}
			budget -= item.size
			item.sending = written
			taken = append(taken, item.message)
		}
		queue = queue[1:]
	}
	if _, known := r.lanes[lane]; known {
		r.lanes[lane] = queue
	}
	return taken
}

// takeCalls gives the addresses to call now, each with what to tell there.
func (r *results) takeCalls() iter.Seq2[string, []*pb.InvocationResult] {
	return func(yield func(string, []*pb.InvocationResult) bool) {
		for address := range r.calls.all() {
			lane := callLane + address
			if !r.hasQueued(lane) {
				r.calls.remove(address)
				delete(r.lanes, lane)
			} else if r.routes.beginCall(address) {
				if !yield(address, r.take(lane, FrameBytes, callResultsMax)) {
					return
				}
			}
		}
	}
}

// called takes the end of a call; without acks it had no answer. It gives what is forgotten because of it.
func (r *results) called(address string, acks []*pb.ResultAck, now time.Time) []*pb.ResultAck {
	lane := callLane + address
	r.routes.endCall(address, acks != nil, now)
	var forgotten []*pb.ResultAck
	for _, ack := range acks {
		if r.acknowledge(ack, lane, now) {
			forgotten = append(forgotten, ack)
		}
	}
	for _, item := range r.held.all() {
		if item.lane != lane || (item.sending != inLane && item.sending != written) {
			continue
		}
		if acks == nil {
			r.route(item, now)
		} else if item.sending == written {
			r.park(item, now.Add(retryDelay))
		}
	}
	return forgotten
}

// wake sends what was parked until now.
func (r *results) wake(now time.Time) {
	for len(r.parked) > 0 && !now.Before(r.parked[0].at) {
		p := heap.Pop(&r.parked).(parking)
		held, _ := r.held.get(p.item.ref)
		if held == p.item && p.item.sending == parked && p.item.parking == p.number {
			r.route(p.item, now)
		}
	}
}

// nextWake may be too early, never too late.
func (r *results) nextWake() time.Time {
	if len(r.parked) == 0 {
		return time.Time{}
	}
	return r.parked[0].at
}

func (r *results) sendToOwner(item *unacked, now time.Time) {
	if r.routes.isOpen(item.owner) {
		r.enqueue(item, item.owner)
	} else {
		r.park(item, now.Add(astrayTime))
	}
}

func (r *results) route(item *unacked, now time.Time) {
	lane := r.routes.laneTo(item.owner, now)
	if lane == "" {
		item.sending = stranded
		return
	}
	r.enqueue(item, lane)
	if address, isCall := calledAddress(lane); isCall {
		r.calls.put(address, struct{}{})
	}
}

func (r *results) park(item *unacked, until time.Time) {
	r.count++
	item.sending, item.parking = parked, r.count
	heap.Push(&r.parked, parking{until, r.count, item})
}

func (r *results) enqueue(item *unacked, lane string) {
	item.sending, item.lane = inLane, lane
	r.lanes[lane] = append(r.lanes[lane], item)
}

// isDue says whether an entry of a queue still stands: an acknowledgement, a new stream or another SEC may have come first.
func (r *results) isDue(item *unacked, lane string) bool {
	held, _ := r.held.get(item.ref)
	return held == item && item.sending == inLane && item.lane == lane
}

func (r *results) judge() {
	percent := 100
	if r.full {
		percent = resumePercent
	}
	r.full = r.bytes > unackedBytesMax/100*percent || r.held.len() > unackedResultsMax*percent/100
}

type parking struct {
	at     time.Time
	number int
	item   *unacked
}

// parkings is a heap by time.
type parkings []parking

func (p parkings) Len() int { return len(p) }
func (p parkings) Less(i, j int) bool {
	return p[i].at.Before(p[j].at) || (p[i].at.Equal(p[j].at) && p[i].number < p[j].number)
}
func (p parkings) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *parkings) Push(x any)   { *p = append(*p, x.(parking)) }
func (p *parkings) Pop() any {
	last := len(*p) - 1
	x := (*p)[last]
	(*p)[last] = parking{}
	*p = (*p)[:last]
	return x
}
