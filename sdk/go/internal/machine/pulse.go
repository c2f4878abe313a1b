package machine

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

type beat struct {
	nonce uint64
	at    time.Time
}

// pulse is that of one stream. Three kinds of silence mean that it is dead (W42): no frame comes; frames come but our
// heartbeats are not echoed, so the SEC does not read; and a heartbeat can't even be written.
type pulse struct {
	isDue    bool // a heartbeat is to leave with the next frame
	streams  *streams
	terms    terms
	beatAt   time.Time
	dueSince time.Time
	heardAt  time.Time
	unechoed []beat
	lagMax   time.Duration
}

func (p *pulse) start(now time.Time, t terms) {
	p.terms = t
	p.isDue = false
	p.beatAt = now.Add(t.heartbeatInterval)
	p.heardAt = now
	p.unechoed = nil
}

func (p *pulse) echoed(nonce uint64) {
	for len(p.unechoed) > 0 && p.unechoed[0].nonce <= nonce {
		p.unechoed = p.unechoed[1:]
	}
}

// hurry lets the next heartbeat leave now, unless one is under way whose echo is waited for.
func (p *pulse) hurry(now time.Time) {
	if !p.isDue && len(p.unechoed) == 0 {
		p.isDue, p.dueSince = true, now
	}
}

// beat is the heartbeat that leaves now.
func (p *pulse) beat(now time.Time, held, unackedBytes int) *pb.Heartbeat {
	nonce := p.streams.nextNonce()
	p.isDue = false
	p.beatAt = now.Add(p.terms.heartbeatInterval)
	p.unechoed = append(p.unechoed, beat{nonce, now})
	lag := p.lagMax
	p.lagMax = 0
	return &pb.Heartbeat{
		Nonce:              nonce,
		InFlightCount:      int32(held),
		UnackedResultBytes: int64(unackedBytes),
		MaxLoopLag:         durationpb.New(lag),
	}
}

// stoodStill: for so long nothing could have been read or written here, which doesn't count against the SEC.
func (p *pulse) stoodStill(lag time.Duration) {
	if lag <= 0 {
		return
	}
	p.lagMax = max(lag, p.lagMax)
	p.heardAt = p.heardAt.Add(lag)
	p.dueSince = p.dueSince.Add(lag)
	for i := range p.unechoed {
		p.unechoed[i].at = p.unechoed[i].at.Add(lag)
	}
}

// tick makes a heartbeat due, or says why the stream is dead.
func (p *pulse) tick(now time.Time) string {
	if !p.isDue && !now.Before(p.beatAt) {
		p.isDue, p.dueSince = true, now
	}
	timeout := p.terms.heartbeatTimeout
	switch {
	case !now.Before(p.heardAt.Add(timeout)):
		return fmt.Sprintf("no frame for %v", timeout)
	case len(p.unechoed) > 0 && !now.Before(p.unechoed[0].at.Add(timeout)):
		return fmt.Sprintf("no echo of a heartbeat for %v", timeout)
	case p.isDue && !now.Before(p.dueSince.Add(timeout)):
		return fmt.Sprintf("nothing could be written for %v", timeout)
	}
	return ""
}

func (p *pulse) nextDeadline() time.Time {
	timeout := p.terms.heartbeatTimeout
	deadline := p.heardAt.Add(timeout)
	if p.isDue {
		deadline = sooner(deadline, p.dueSince.Add(timeout))
	} else {
		deadline = sooner(deadline, p.beatAt)
	}
	if len(p.unechoed) > 0 {
		deadline = sooner(deadline, p.unechoed[0].at.Add(timeout))
	}
	return deadline
}
