package machine

import (
	"log/slog"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Fleet is all sessions of this worker: which addresses are dialled, and when. It is what the shell talks to.
//
// The worker knows a few bootstrap addresses from its user. One of them is dialled, the next when that fails, and so on;
// whichever SEC answers tells who the SECs are, and then each is dialled at its own address. From there on the bootstrap
// addresses are a fall-back for when there is no stream at all.
//
// Two streams to one SEC at a time must not be: the SEC would take what the second hello says to be held for the whole
// truth, while the first stream still brought invocations. A SEC's own address leads to that SEC; but who answers at a
// bootstrap address is not known before, since it may be a load balancer's. So it is dialled only while no other stream
// is open or on its way, and until it is welcomed no other is begun.
type Fleet struct {
	Error string // why the worker can't go on, though nobody asked it to leave

	holdings  *Holdings
	hello     *pb.Hello
	sessions  *ordered[string, *Session] // by address
	bootstrap []string
	members   membership
	retries   map[string]reconnect
	ordered   map[string]bool // addresses that the shell was told to dial, and has not yet
	favourite string          // the address at which a SEC answered last
	planAt    time.Time
}

// NewFleet makes a fleet that has dialled nothing yet.
func NewFleet(hello *pb.Hello, holdings *Holdings, bootstrap []string) *Fleet {
	hello = proto.CloneOf(hello)
	hello.ProtocolVersion = ProtocolVersion
	hello.Capabilities = []pb.WorkerCapability{pb.WorkerCapability_WORKER_CAPABILITY_SEVERAL_SECS}
	f := &Fleet{
		holdings:  holdings,
		hello:     hello,
		sessions:  newOrdered[string, *Session](),
		bootstrap: slices.Compact(slices.Clone(bootstrap)),
		members:   membership{newOrdered[string, string](), noRevision},
		retries:   map[string]reconnect{},
		ordered:   map[string]bool{},
	}
	holdings.results.routes.linked = f.sessions.has
	return f
}

// ---- events

// Start begins to dial.
func (f *Fleet) Start(now time.Time) []Effect { return f.settle(now, true) }

// Session is the one at an address, nil if there is none.
func (f *Fleet) Session(address string) *Session {
	session, _ := f.sessions.get(address)
	return session
}

// Opened tells that the shell has a stream for a session, and will pull its first frame.
func (f *Fleet) Opened(s *Session, now time.Time) []Effect {
	delete(f.ordered, s.Address)
	s.opened(now)
	return f.settle(now, false)
}

// Received tells of a frame. None of a stream may come after Ended of it: only so can hello say what is held (W4).
func (f *Fleet) Received(s *Session, frame *pb.ConnectResponse, now time.Time) []Effect {
	s.received(frame, now)
	return f.settle(now, false)
}

// Written tells that the frame pulled last is written: a worker that leaves may have said everything by now.
func (f *Fleet) Written(now time.Time) []Effect { return f.settle(now, false) }

// Ended tells that a stream is over; draw is random, from 0 to 1.
func (f *Fleet) Ended(s *Session, now time.Time, why string, draw float64) []Effect {
	s.ended(now, why, draw)
	return f.settle(now, true)
}

// Called tells of the end of a call of ReportResults; without acks it had no answer.
func (f *Fleet) Called(address string, acks []*pb.ResultAck, now time.Time) []Effect {
	f.holdings.called(address, acks, now)
	return f.settle(now, false)
}

// Finished tells how user code ended. Its slot is free at once; the window, when the result has been read.
func (f *Fleet) Finished(ref Ref, outcome Outcome, now time.Time) []Effect {
	f.holdings.finished(ref, outcome, now)
	return f.settle(now, false)
}

// NotStarted tells that an attempt was not handed to user code, and never will be.
func (f *Fleet) NotStarted(ref Ref, now time.Time) []Effect {
	f.holdings.notStarted(ref, now)
	return f.settle(now, false)
}

// Progress tells that user code is alive.
func (f *Fleet) Progress(ref Ref, details *pb.Payload, now time.Time) []Effect {
	f.holdings.reportProgress(ref, details, now)
	return f.settle(now, false)
}

// Drain begins to leave, or to leave sooner than was said before.
func (f *Fleet) Drain(now time.Time, timeout time.Duration) []Effect {
	f.holdings.drain(now, timeout)
	return f.Tick(now, 0)
}

// Tick tells that time has passed; lag is how long the shell stood still and could not have read a frame.
func (f *Fleet) Tick(now time.Time, lag time.Duration) []Effect {
	f.holdings.tick(now)
	for _, s := range f.sessions.all() {
		s.tick(now, lag)
	}
	return f.settle(now, true)
}

// NextDeadline is when Tick has something to do; zero: never.
func (f *Fleet) NextDeadline() time.Time {
	if f.Closed() {
		return time.Time{}
	}
	deadline := sooner(f.holdings.nextDeadline(), f.planAt)
	for _, s := range f.sessions.all() {
		deadline = sooner(deadline, s.nextDeadline())
	}
	return deadline
}

// Connected says whether a session is open at this moment.
func (f *Fleet) Connected() bool {
	for _, s := range f.sessions.all() {
		if s.state == open {
			return true
		}
	}
	return false
}

// Closed says whether the worker has left.
func (f *Fleet) Closed() bool { return f.holdings.draining && f.sessions.len() == 0 }

// LeftBehind gives the attempts whose user code has not ended, and the number of results that no SEC has acknowledged.
func (f *Fleet) LeftBehind() (stillRun []Ref, unacknowledged int) {
	for ref, attempt := range f.holdings.slots.attempts.all() {
		if attempt.state == running {
			stillRun = append(stillRun, ref)
		}
	}
	return stillRun, f.holdings.results.held.len()
}

// ---- inside

// settle takes out the effects that are for the fleet, until nothing follows from them any more.
func (f *Fleet) settle(now time.Time, plan bool) []Effect {
	var passedOn []Effect
	for {
		for _, effect := range f.holdings.effects.take() {
			switch e := effect.(type) {
			case reconnect:
				f.retries[e.address] = e
				plan = true
				continue
			case members:
				f.takeMembers(e.secs)
				plan = true
				continue
			case Welcomed:
				f.welcomed(e)
				plan = true
			case Closed:
				f.forget(e, now)
				plan = true
			}
			passedOn = append(passedOn, effect)
		}
		if f.holdings.draining {
			for _, s := range f.sessions.all() {
				s.conclude(now)
			}
			plan = true
		}
		if plan {
			f.plan(now)
			plan = false
		}
		if len(f.holdings.effects.list) == 0 {
			break
		}
	}
	if f.Closed() {
		return passedOn // who has left asks nobody for anything
	}
	for address, results := range f.holdings.results.takeCalls() {
		request := &pb.ReportResultsRequest{Results: results, WorkerId: f.hello.GetWorkerId()}
		passedOn = append(passedOn, Call{address, request})
	}
	return passedOn
}

func (f *Fleet) welcomed(w Welcomed) {
	f.favourite = w.Address
	heard := false
	for address, other := range f.sessions.all() {
		heard = heard || (address != w.Address && other.state == open)
	}
	if !heard {
		f.members.forgetRevision()
	}
	for address, other := range f.sessions.all() {
		if address != w.Address && other.sec == w.SEC && other.state == open {
			// Two addresses lead to one SEC, and it has ended the older stream by now.
			f.holdings.effects.note(slog.LevelWarn, "two addresses lead to one SEC", "sec", w.SEC, "one", address, "two", w.Address)
			other.giveUp("replaced by another stream of this worker")
		}
	}
}

func (f *Fleet) takeMembers(set *pb.SecSet) {
	if f.members.take(set) {
		f.holdings.members(set.GetSecs())
		f.holdings.effects.note(slog.LevelInfo, "membership", "revision", set.GetRevision(), "secs", f.members.addresses.len())
	}
}

func (f *Fleet) forget(c Closed, now time.Time) {
	f.sessions.remove(c.Address)
	delete(f.retries, c.Address)
	delete(f.ordered, c.Address)
	if c.Error != "" && f.Error == "" {
		f.Error = c.Error
		f.holdings.drain(now, 0)
	}
}

// ---- dialling

// plan dials what is due and may be dialled, and lets go of addresses that are good for nothing any more.
func (f *Fleet) plan(now time.Time) {
	f.planAt = time.Time{}
	if f.holdings.givenUp || f.Error != "" {
		return
	}
	defer f.planAgain(now)
	if f.holdings.draining && !f.holdings.busy() {
		f.dialForRejections(now)
		return
	}
	for address, s := range f.sessions.all() {
		if !f.members.has(address) && !slices.Contains(f.bootstrap, address) && !f.isBusy(s) {
			s.close()
		}
	}
	busy, takenSECs := 0, map[string]bool{}
	for _, s := range f.sessions.all() {
		if !f.isBusy(s) {
			continue
		}
		if s.sec == "" && (s.state == idle || s.state == greeting) {
			return // nobody knows who will answer there
		}
		busy++
		takenSECs[s.sec] = true
	}
	if busy == 0 && f.favouriteFirst() && f.dialIfDue(f.favourite, "", now) {
		return
	}
	for sec, address := range f.members.addresses.all() {
		if !takenSECs[sec] && f.dialIfDue(address, sec, now) {
			takenSECs[sec] = true
		}
	}
	if busy == 0 && len(f.ordered) == 0 {
		f.dialBootstrap(now)
	}
}

// dialForRejections: while leaving, with nothing held any more, the sessions that are left owe a rejection.
func (f *Fleet) dialForRejections(now time.Time) {
	for address, s := range f.sessions.all() {
		alone := true
		for _, other := range f.sessions.all() {
			alone = alone && !f.isBusy(other)
		}
		if alone || f.members.has(address) {
			f.dialIfDue(address, s.sec, now)
		}
	}
}

func (f *Fleet) isBusy(s *Session) bool { return s.state != idle || f.ordered[s.Address] }

// favouriteFirst says whether the bootstrap address that worked until now is to be tried again before anything else.
func (f *Fleet) favouriteFirst() bool {
	if !slices.Contains(f.bootstrap, f.favourite) || f.members.has(f.favourite) {
		return false
	}
	retry, tried := f.retries[f.favourite]
	return !tried || retry.failures == 0
}

func (f *Fleet) dialIfDue(address, sec string, now time.Time) bool {
	retry := f.retries[address]
	s, found := f.sessions.get(address)
	if retry.at.After(now) || (found && f.isBusy(s)) {
		return false
	}
	if !found {
		s = newSession(address, f.hello, f.holdings)
		f.sessions.put(address, s)
	}
	s.sec = sec
	f.ordered[address] = true
	f.holdings.effects.add(Connect{address, retry.fresh})
	return true
}

func (f *Fleet) dialBootstrap(now time.Time) {
	for range f.bootstrap {
		address := f.bootstrap[0]
		f.bootstrap = append(f.bootstrap[1:], address)
		if !f.members.has(address) && f.dialIfDue(address, "", now) {
			return
		}
	}
}

// planAgain sets when the next address is due. What is due and may not be dialled waits for an event, not for a time.
func (f *Fleet) planAgain(now time.Time) {
	for address, retry := range f.retries {
		if s, found := f.sessions.get(address); found && retry.at.After(now) && !f.isBusy(s) {
			f.planAt = sooner(f.planAt, retry.at)
		}
	}
}
