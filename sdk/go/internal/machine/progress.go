package machine

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// latest is the last progress of one attempt.
type latest struct {
	ref       Ref
	sec       string
	details   *pb.Payload
	queued    bool
	waitUntil time.Time
	writtenAt time.Time
}

// progress keeps only the latest of each attempt, and sends of each at most one in a short time (W45).
type progress struct {
	latest *ordered[Ref, *latest]
	queues map[string][]*latest
}

func newProgress() *progress {
	return &progress{newOrdered[Ref, *latest](), map[string][]*latest{}}
}

// report: without details the last ones stand, and only life is told.
func (p *progress) report(ref Ref, sec string, details *pb.Payload, now time.Time) {
	item, found := p.latest.get(ref)
	if !found {
		item = &latest{ref: ref, sec: sec}
		p.latest.put(ref, item)
	}
	if details != nil {
		item.details = details
	}
	if item.queued || !item.waitUntil.IsZero() {
		return
	}
	if at := item.writtenAt.Add(progressTime); at.After(now) {
		item.waitUntil = at
	} else {
		p.enqueue(item)
	}
}

func (p *progress) wake(now time.Time) {
	for _, item := range p.latest.all() {
		if due(item.waitUntil, now) {
			p.enqueue(item)
		}
	}
}

func (p *progress) nextWake() time.Time {
	var next time.Time
	for _, item := range p.latest.all() {
		next = sooner(next, item.waitUntil)
	}
	return next
}

// end: what an attempt told last leaves no later than its result, and nothing follows.
func (p *progress) end(ref Ref) {
	if item, found := p.latest.get(ref); found {
		p.latest.remove(ref)
		if !item.waitUntil.IsZero() {
			p.enqueue(item)
		}
	}
}

// resendAll: what was written on the old stream may have been lost with it.
func (p *progress) resendAll(sec string) {
	p.queues[sec] = nil
	for _, item := range p.latest.all() {
		if item.sec == sec {
			p.enqueue(item)
		}
	}
}

func (p *progress) assign(ref Ref, sec string) {
	if item, found := p.latest.get(ref); found && item.sec != sec {
		item.sec = sec
		p.enqueue(item)
	}
}

func (p *progress) closed(sec string) { delete(p.queues, sec) }

func (p *progress) hasQueued(sec string) bool {
	queue := p.queues[sec]
	for len(queue) > 0 && queue[0].sec != sec {
		queue = queue[1:]
	}
	if len(p.queues[sec]) > 0 {
		p.queues[sec] = queue
	}
	return len(queue) > 0
}

func (p *progress) take(sec string, budget int, now time.Time) ([]*pb.Progress, int) {
	var taken []*pb.Progress
	for p.hasQueued(sec) {
		item := p.queues[sec][0]
		message := &pb.Progress{Ref: item.ref.message(), Details: item.details}
		size := proto.Size(message) + itemOverhead
		if size > budget {
			break
		}
		budget -= size
		p.queues[sec] = p.queues[sec][1:]
		item.queued, item.writtenAt = false, now
		taken = append(taken, message)
	}
	return taken, budget
}

func (p *progress) enqueue(item *latest) {
	item.queued, item.waitUntil = true, time.Time{}
	p.queues[item.sec] = append(p.queues[item.sec], item)
}
