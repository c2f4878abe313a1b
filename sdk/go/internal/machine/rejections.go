package machine

import (
	"iter"

	"google.golang.org/protobuf/proto"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// rejected is a rejection that its SEC may not have read.
type rejected struct {
	ref    Ref
	sec    string // whose reading of it counts; "" if anybody's does, since that SEC is gone
	reason pb.RejectionReason
}

type writtenRejection struct {
	nonce uint64
	item  *rejected
}

// rejectionLane holds the rejections of one stream: to write, and written with the nonce whose echo confirms them.
type rejectionLane struct {
	queued  []*rejected
	written []writtenRejection
}

// rejections keeps each until the SEC has echoed a heartbeat that left with it or after it (W33).
type rejections struct {
	held  *ordered[Ref, *rejected]
	lanes map[string]*rejectionLane
}

func newRejections() *rejections {
	return &rejections{newOrdered[Ref, *rejected](), map[string]*rejectionLane{}}
}

func (r *rejections) add(ref Ref, sec string, reason pb.RejectionReason) {
	item := &rejected{ref, sec, reason}
	r.held.remove(ref)
	r.held.put(ref, item)
	r.held.trim(rejectionsMax)
	r.queue(item, sec)
}

// repeat says again what will not run here: to the saga's owner, so that its reading counts.
func (r *rejections) repeat(ref Ref, sec string, owner bool) {
	item, _ := r.held.get(ref)
	if owner {
		r.add(ref, sec, item.reason)
	} else {
		r.queue(item, sec)
	}
}

func (r *rejections) reassign(owner ownerOf) {
	for _, item := range r.held.all() {
		if sec, _, moved := owner(item.ref, item.sec); moved && sec != "" {
			item.sec = sec
			r.queue(item, sec)
		}
	}
}

// opened queues every rejection of a SEC again for its new stream, and those of SECs that are gone.
func (r *rejections) opened(sec string) {
	lane := &rejectionLane{}
	for _, item := range r.held.all() {
		if item.sec == sec || item.sec == "" {
			lane.queued = append(lane.queued, item)
		}
	}
	r.lanes[sec] = lane
}

func (r *rejections) closed(sec string) { delete(r.lanes, sec) }

// release lets anybody's reading count for what was of a SEC that will not come back.
func (r *rejections) release(gone func(string) bool) {
	for _, item := range r.held.all() {
		if item.sec != "" && gone(item.sec) {
			item.sec = ""
		}
	}
}

func (r *rejections) hasQueued(sec string) bool {
	lane := r.lanes[sec]
	return lane != nil && len(lane.queued) > 0
}

// take gives what is to be written next within a budget of bytes; nonce is of the heartbeat that leaves with it or next.
func (r *rejections) take(sec string, budget int, nonce uint64) ([]*pb.Rejection, int) {
	lane := r.lanes[sec]
	var taken []*pb.Rejection
	for len(lane.queued) > 0 {
		item := lane.queued[0]
		message := &pb.Rejection{Ref: item.ref.message(), Reason: item.reason}
		size := proto.Size(message) + itemOverhead
		if size > budget {
			break
		}
		budget -= size
		lane.queued = lane.queued[1:]
		lane.written = append(lane.written, writtenRejection{nonce, item})
		taken = append(taken, message)
	}
	return taken, budget
}

// confirm forgets what was written before the heartbeat that a SEC has echoed.
func (r *rejections) confirm(sec string, nonce uint64) {
	lane := r.lanes[sec]
	if lane == nil {
		return
	}
	for len(lane.written) > 0 && lane.written[0].nonce <= nonce {
		item := lane.written[0].item
		lane.written = lane.written[1:]
		if now, _ := r.held.get(item.ref); now == item && (item.sec == sec || item.sec == "") {
			r.held.remove(item.ref)
		}
	}
}

// of goes over the rejections of a SEC, or with "" over all.
func (r *rejections) of(sec string) iter.Seq[Ref] {
	return func(yield func(Ref) bool) {
		for ref, item := range r.held.all() {
			if (sec == "" || item.sec == sec) && !yield(ref) {
				return
			}
		}
	}
}

func (r *rejections) queue(item *rejected, sec string) {
	lane := r.lanes[sec]
	if lane == nil {
		lane = &rejectionLane{}
		r.lanes[sec] = lane
	}
	lane.queued = append(lane.queued, item)
	if len(lane.queued) > rejectionsMax {
		lane.queued = lane.queued[1:]
	}
}
