package machine

import (
	"container/heap"
	"slices"
	"time"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// slots holds the attempts that have not ended, and the slots that they use or wait for. Of a node user code runs once
// at a time, whatever the side (W22).
type slots struct {
	attempts *ordered[Ref, *Attempt]
	running  map[place]*Attempt
	queued   *ordered[place, *Attempt] // waits for a slot, or for an earlier attempt of the node to end

	sizes      map[string]int
	used, held map[string]int
	lines      map[string][]*Attempt
	deadlines  deadlines
	effects    *effects
	rejections *rejections
}

func newSlots(sizes map[string]int, effects *effects, rejections *rejections) *slots {
	return &slots{
		attempts:   newOrdered[Ref, *Attempt](),
		running:    map[place]*Attempt{},
		queued:     newOrdered[place, *Attempt](),
		sizes:      sizes,
		used:       map[string]int{},
		held:       map[string]int{},
		lines:      map[string][]*Attempt{},
		effects:    effects,
		rejections: rejections,
	}
}

// refusal says why an attempt that is new here is not taken; UNSPECIFIED: it is. Excess may be held beyond the slots.
func (s *slots) refusal(a *Attempt, excess int) pb.RejectionReason {
	waiting, isWaiting := s.queued.get(a.Ref.place())
	here := waiting
	if !isWaiting {
		here = s.running[a.Ref.place()]
	}
	if here != nil && !here.Ref.before(a.Ref) {
		return staleEpoch
	}
	held := s.held[a.pool]
	if isWaiting && waiting.pool == a.pool {
		held-- // it will be replaced
	}
	if held >= s.sizes[a.pool]+excess {
		return noCapacity
	}
	return taken
}

// take lets a later attempt of a node take the place of one that waits, and wait for one that runs. The SEC has given
// the earlier one up; but here it may still be having its effect, and no idempotency key protects from two at once.
func (s *slots) take(a *Attempt, now time.Time) {
	at := a.Ref.place()
	if waiting, found := s.queued.get(at); found {
		s.reject(waiting, noCapacity)
	}
	s.attempts.put(a.Ref, a)
	s.held[a.pool]++
	if earlier := s.running[at]; earlier != nil {
		s.queued.put(at, a)
		s.stop(earlier, Superseded)
	} else if s.used[a.pool] < s.sizes[a.pool] {
		s.start(a, now)
	} else {
		s.queued.put(at, a)
		s.lines[a.pool] = append(s.lines[a.pool], a)
	}
}

func (s *slots) start(a *Attempt, now time.Time) {
	a.state = running
	s.running[a.Ref.place()] = a
	s.used[a.pool]++
	if a.Invocation.StartToClose != nil {
		a.until = after(now, durationOf(a.Invocation.StartToClose))
		s.deadlines.add(a, len(s.running))
	}
	s.effects.add(Start{a})
}

// stop asks a running attempt to end. The first reason counts; but an order comes after any advice.
func (s *slots) stop(a *Attempt, reason StopReason) {
	if a.stopped == NotStopped || (a.stopped.IsAdvice() && !reason.IsAdvice()) {
		a.stopped = reason
		s.effects.add(Stop{a.Ref, reason})
	}
}

// reject is only for what has not started: that is what the word promises (W32).
func (s *slots) reject(a *Attempt, reason pb.RejectionReason) {
	s.queued.remove(a.Ref.place())
	s.attempts.remove(a.Ref)
	a.state = ended
	s.held[a.pool]--
	s.lines[a.pool] = slices.DeleteFunc(s.lines[a.pool], func(other *Attempt) bool { return other == a })
	s.rejections.add(a.Ref, a.sec, reason)
}

// drop lets go of an attempt whose user code has ended, or never began.
func (s *slots) drop(a *Attempt) {
	a.state = ended
	s.attempts.remove(a.Ref)
	delete(s.running, a.Ref.place())
	s.used[a.pool]--
	s.held[a.pool]--
}

// advance uses what an end has freed: the node, for a later attempt that waits for it, and the slot.
func (s *slots) advance(over *Attempt, succeeded bool, now time.Time) {
	if waiting, found := s.queued.get(over.Ref.place()); found {
		if succeeded && waiting.Ref.Kind == over.Ref.Kind {
			// The node's answer is known and goes to the SEC first: running it again would gain nothing.
			s.reject(waiting, noCapacity)
		} else {
			s.lines[waiting.pool] = append(s.lines[waiting.pool], waiting)
			s.fill(waiting.pool, now)
		}
	}
	s.fill(over.pool, now)
}

func (s *slots) fill(pool string, now time.Time) {
	for len(s.lines[pool]) > 0 && s.used[pool] < s.sizes[pool] {
		a := s.lines[pool][0]
		s.lines[pool] = s.lines[pool][1:]
		s.queued.remove(a.Ref.place())
		s.start(a, now)
	}
}

// tick asks what has run for too long to end (W24).
func (s *slots) tick(now time.Time) {
	for len(s.deadlines) > 0 && !now.Before(s.deadlines[0].until) {
		if a := heap.Pop(&s.deadlines).(*Attempt); a.state == running {
			s.stop(a, TimedOut)
		}
	}
}

// nextDeadline may be that of an attempt that has ended: too early, never too late.
func (s *slots) nextDeadline() time.Time {
	if len(s.deadlines) == 0 {
		return time.Time{}
	}
	return s.deadlines[0].until
}

type secPool struct{ sec, pool string }

func (s *slots) bySecAndPool() map[secPool]int {
	counts := map[secPool]int{}
	for _, a := range s.attempts.all() {
		counts[secPool{a.sec, a.pool}]++
	}
	return counts
}

// deadlines is a heap of attempts by the time at which they are to be stopped. What has ended is swept out lazily, for
// most attempts end long before their time.
type deadlines []*Attempt

func (d *deadlines) add(a *Attempt, alive int) {
	heap.Push(d, a)
	if len(*d) > 4*alive+16 {
		*d = slices.DeleteFunc(*d, func(a *Attempt) bool { return a.state != running })
		heap.Init(d)
	}
}

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].until.Before(d[j].until) }
func (d deadlines) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *deadlines) Push(x any)        { *d = append(*d, x.(*Attempt)) }
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	a := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return a
}
