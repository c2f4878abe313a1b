package machine

import (
	"iter"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

const (
	taken         = pb.RejectionReason_REJECTION_REASON_UNSPECIFIED // not refused
	noCapacity    = pb.RejectionReason_REJECTION_REASON_NO_CAPACITY
	isDraining    = pb.RejectionReason_REJECTION_REASON_DRAINING
	unknownAction = pb.RejectionReason_REJECTION_REASON_UNKNOWN_ACTION
	staleEpoch    = pb.RejectionReason_REJECTION_REASON_STALE_EPOCH
	wasCancelled  = pb.RejectionReason_REJECTION_REASON_CANCELLED
)

// Side names what a worker serves: an action or its undo action, at a version.
type Side struct {
	Action, Version string
	Kind            pb.InvocationKind
}

// Outcome is how an attempt ended: with a failure, or else with an output.
type Outcome struct {
	Output  *pb.Payload
	Failure *pb.Failure
}

// Holdings is what this worker holds, whichever SEC it came from. Its promises:
//
//   - user code runs for each attempt at most once, and of each node at most one attempt at a time;
//   - every attempt taken is answered: by a result once it was handed to user code, and by a rejection only before.
//     Answers are kept until a SEC has confirmed them, and follow their saga from SEC to SEC;
//   - never more running than slots, never more held than slots and a small excess;
//   - no attempt of a lower epoch starts after a higher one of the same saga was seen.
type Holdings struct {
	served       map[Side]string // to the pool that it uses
	effects      effects
	streams      streams
	results      *results
	rejections   *rejections
	slots        *slots
	windows      *windows
	progress     *progress
	epochs       *epochs
	payloadBytes map[string]int // by address
	payloadMax   int
	memberIDs    map[string]bool // nil while nobody has told
	draining     bool
	givenUp      bool // the drain's time and the grace are over: sessions close whatever is left
	drainAt      time.Time
	giveUpAt     time.Time
}

// NewHoldings makes them for what is served, with the slot pool that each uses, and the slots by pool.
func NewHoldings(served map[Side]string, sizes map[string]int) *Holdings {
	h := &Holdings{
		served:       served,
		streams:      streams{open: map[string]*stream{}},
		results:      newResults(),
		rejections:   newRejections(),
		progress:     newProgress(),
		epochs:       newEpochs(),
		payloadBytes: map[string]int{},
		payloadMax:   PayloadBytes,
	}
	h.slots = newSlots(sizes, &h.effects, h.rejections)
	h.windows = newWindows(sizes, h.slots.bySecAndPool)
	return h
}

// ---- streams

func (h *Holdings) opened(address string) int64 {
	h.windows.opened(address)
	return h.streams.opened(address)
}

// welcomed: a stream is this SEC's, which takes payloads up to a size; all that is unconfirmed is said again on it.
func (h *Holdings) welcomed(address, sec string, payloadBytes int, now time.Time) {
	h.streams.welcomed(address, sec)
	h.windows.welcomed(address, sec, now)
	h.payloadBytes[address] = payloadBytes
	h.fit()
	h.results.opened(sec, now)
	h.rejections.opened(sec)
	h.progress.resendAll(sec)
}

func (h *Holdings) ended(address string, now time.Time) {
	sec, last := h.streams.ended(address)
	h.windows.ended(address, now)
	delete(h.payloadBytes, address)
	if last {
		h.results.closed(sec, now)
		h.rejections.closed(sec)
		h.progress.closed(sec)
		if h.isGone(sec) {
			h.rejections.release(h.isGone)
		}
	}
}

// members: these SECs live, and no others.
func (h *Holdings) members(secs []*pb.Sec) {
	h.memberIDs = map[string]bool{}
	for _, sec := range secs {
		h.memberIDs[sec.GetSecId()] = true
		h.results.routes.learn(sec.GetSecId(), sec.GetAddress())
	}
	h.rejections.release(h.isGone)
}

func (h *Holdings) isGone(sec string) bool {
	return h.memberIDs != nil && !h.memberIDs[sec] && !h.results.routes.isOpen(sec)
}

// fit keeps to the lowest limit for payloads: what was kept under a higher one would never fit into a frame.
func (h *Holdings) fit() {
	h.payloadMax = PayloadBytes
	for _, bytes := range h.payloadBytes {
		h.payloadMax = min(h.payloadMax, bytes)
	}
	for _, item := range h.results.held.all() {
		if size := proto.Size(item.message.GetOutput()); size > h.payloadMax {
			failure := PayloadTooLarge("the output", size, h.payloadMax)
			h.results.replace(item, &pb.InvocationResult{
				Ref: item.message.Ref, Epoch: item.message.Epoch, Outcome: &pb.InvocationResult_Failure{Failure: failure},
			})
		}
	}
}

// ---- what comes from a SEC

// receive attaches an invocation to what is here, takes it, or rejects it.
func (h *Holdings) receive(invocation *pb.Invocation, sec string, now time.Time) {
	ref, epoch := RefOf(invocation.GetRef()), invocation.GetEpoch()
	if !ref.valid() {
		h.effects.note(slog.LevelError, "an invocation without a name is ignored", "sec", sec, "attempt", ref)
		return
	}
	if h.attach(ref, sec, epoch, now) {
		return
	}
	pool, served := h.served[Side{invocation.GetAction(), versionOf(invocation), ref.Kind}]
	attempt := &Attempt{Ref: ref, Invocation: invocation, pool: pool, sec: sec, epoch: epoch}
	reason := taken
	switch {
	case h.epochs.stale(ref.Saga, epoch):
		reason = staleEpoch
	case !served:
		reason = unknownAction
	case h.draining:
		reason = isDraining
	default:
		reason = h.slots.refusal(attempt, excessMax*max(h.windows.grants.len(), 1))
	}
	if reason != taken {
		h.rejections.add(ref, sec, reason)
		return
	}
	h.epochs.see(ref.Saga, epoch)
	h.slots.take(attempt, now)
}

func versionOf(invocation *pb.Invocation) string {
	if version := invocation.GetVersion(); version != "" {
		return version
	}
	return "1"
}

// attach says whether an attempt is here already: it is then neither run again nor rejected, whatever its epoch (W20).
// From a SEC that lost the saga it changes nothing; another one is answered from here on.
func (h *Holdings) attach(ref Ref, sec string, epoch int64, now time.Time) bool {
	attempt, isHeld := h.slots.attempts.get(ref)
	result, hasResult := h.results.held.get(ref)
	isRejected := h.rejections.held.has(ref)
	if !isHeld && !hasResult && !isRejected {
		return false
	}
	isOwner := !h.epochs.stale(ref.Saga, epoch)
	if isOwner {
		h.epochs.see(ref.Saga, epoch)
	}
	switch {
	case isRejected:
		h.rejections.repeat(ref, sec, isOwner)
	case !isOwner:
	case isHeld:
		attempt.sec, attempt.epoch = sec, max(attempt.epoch, epoch)
		h.progress.assign(ref, sec)
	default:
		h.results.assign(result, sec, epoch, now)
	}
	return true
}

func (h *Holdings) acknowledge(ack *pb.ResultAck, lane string, now time.Time) {
	if h.results.acknowledge(ack, lane, now) {
		h.forgotten(ack)
	}
}

func (h *Holdings) called(address string, acks []*pb.ResultAck, now time.Time) {
	for _, ack := range h.results.called(address, acks, now) {
		h.forgotten(ack)
	}
}

func (h *Holdings) forgotten(ack *pb.ResultAck) {
	switch ack.GetStatus() {
	case pb.ResultStatus_RESULT_STATUS_RECORDED, pb.ResultStatus_RESULT_STATUS_DUPLICATE:
	default:
		h.effects.note(slog.LevelWarn, "a result was not taken", "attempt", RefOf(ack.GetRef()),
			"status", ack.GetStatus().String(), "why", ack.GetMessage())
	}
}

// cancel passes on a SEC's wish to stop an attempt, and says whether the attempt is held here.
func (h *Holdings) cancel(ref Ref, reason StopReason) bool {
	attempt, found := h.slots.attempts.get(ref)
	if !found {
		return h.results.held.has(ref) || h.rejections.held.has(ref)
	}
	if attempt.state == queued {
		h.slots.reject(attempt, wasCancelled)
	} else {
		h.slots.stop(attempt, reason)
	}
	return true
}

// move: sagas left a SEC. What is held of them is answered to their new owners, where these are known (W39).
func (h *Holdings) move(sec string, moves []*pb.SagaMoved, now time.Time) {
	owners := map[string]string{}
	for _, move := range moves {
		if !h.epochs.stale(move.GetSagaId(), move.GetEpoch()) {
			h.epochs.see(move.GetSagaId(), move.GetEpoch())
			h.results.routes.learn(move.GetOwner().GetSecId(), move.GetOwner().GetAddress())
			owners[move.GetSagaId()] = move.GetOwner().GetSecId()
		}
	}
	h.reassign(func(ref Ref, present string) (string, int64, bool) {
		owner, moved := owners[ref.Saga]
		// An adoption may have come first: only the SEC that gave the saga away is wrong by now.
		return owner, 0, moved && (owner != "" || present == sec)
	}, now)
}

// adopt: a SEC has taken sagas over, and what is held of them is answered there from here on (W39).
func (h *Holdings) adopt(sec string, adoptions []*pb.Adoption, now time.Time) {
	epochs := map[string]int64{}
	for _, adoption := range adoptions {
		if !h.epochs.stale(adoption.GetSagaId(), adoption.GetEpoch()) {
			h.epochs.see(adoption.GetSagaId(), adoption.GetEpoch())
			epochs[adoption.GetSagaId()] = adoption.GetEpoch()
		}
	}
	h.reassign(func(ref Ref, _ string) (string, int64, bool) {
		epoch, adopted := epochs[ref.Saga]
		return sec, epoch, adopted
	}, now)
}

func (h *Holdings) reassign(owner ownerOf, now time.Time) {
	for ref, attempt := range h.slots.attempts.all() {
		if sec, epoch, moved := owner(ref, attempt.sec); moved {
			attempt.sec, attempt.epoch = sec, max(attempt.epoch, epoch)
			h.progress.assign(ref, sec)
		}
	}
	h.results.reassign(owner, now)
	h.rejections.reassign(owner)
}

// ---- what comes from user code

func (h *Holdings) finished(ref Ref, outcome Outcome, now time.Time) {
	attempt, found := h.slots.attempts.get(ref)
	if !found || attempt.state != running {
		h.effects.note(slog.LevelError, "an outcome of an attempt that does not run", "attempt", ref)
		return
	}
	h.slots.drop(attempt)
	h.progress.end(ref)
	h.results.add(ref, attempt.sec, resultOf(attempt, outcome, h.payloadMax), now)
	h.slots.advance(attempt, outcome.Failure == nil, now)
}

func (h *Holdings) notStarted(ref Ref, now time.Time) {
	attempt, found := h.slots.attempts.get(ref)
	if !found || attempt.state != running {
		return
	}
	h.slots.drop(attempt)
	h.progress.end(ref)
	reason := noCapacity
	if attempt.stopped != NotStopped {
		reason = wasCancelled
	}
	h.rejections.add(ref, attempt.sec, reason)
	h.slots.advance(attempt, false, now)
}

// reportProgress means nothing any more after the attempt's end.
func (h *Holdings) reportProgress(ref Ref, details *pb.Payload, now time.Time) {
	if attempt, found := h.slots.attempts.get(ref); found && attempt.state == running {
		h.progress.report(ref, attempt.sec, details, now)
	}
}

// ---- leaving, and time

// drain takes nothing more, hands back what has not started, and lets run what runs. Again, it can only get shorter.
func (h *Holdings) drain(now time.Time, timeout time.Duration) {
	h.drainAt = sooner(h.drainAt, after(now, max(timeout, 0)))
	h.draining = true
	for _, attempt := range h.slots.queued.all() {
		h.slots.reject(attempt, isDraining)
	}
}

func (h *Holdings) drainLeft(now time.Time) time.Duration {
	if h.drainAt.IsZero() {
		return 0
	}
	return max(0, h.drainAt.Sub(now))
}

func (h *Holdings) tick(now time.Time) {
	h.slots.tick(now)
	h.results.wake(now)
	h.progress.wake(now)
	h.windows.tick(now)
	if h.giveUpAt.IsZero() && due(h.drainAt, now) {
		h.giveUpAt = now.Add(CancelGrace)
		for _, attempt := range h.slots.attempts.all() {
			if attempt.state == running {
				h.slots.stop(attempt, WorkerStopping)
			}
		}
	}
	if due(h.giveUpAt, now) {
		h.givenUp = true
	}
}

func (h *Holdings) nextDeadline() time.Time {
	deadline := sooner(h.slots.nextDeadline(), h.results.nextWake())
	deadline = sooner(deadline, h.progress.nextWake())
	deadline = sooner(deadline, h.windows.splitAt)
	switch {
	case h.givenUp:
		return deadline
	case h.giveUpAt.IsZero():
		return sooner(deadline, h.drainAt)
	}
	return sooner(deadline, h.giveUpAt)
}

// ---- what sessions ask

// closed says whether no SEC is to send anything more at present.
func (h *Holdings) closed() bool { return h.draining || h.results.full }

// busy says whether anything is left to be done: an attempt that has not ended, or a result that no SEC has.
func (h *Holdings) busy() bool { return h.slots.attempts.len() > 0 || h.results.held.len() > 0 }

// report goes over everything of a SEC that is held, or with "" over all. What was rejected and is not confirmed stands
// as queued, which is what it was (W33).
func (h *Holdings) report(sec string) iter.Seq2[Ref, pb.InFlightState] {
	return func(yield func(Ref, pb.InFlightState) bool) {
		for ref, attempt := range h.slots.attempts.all() {
			if (sec == "" || attempt.sec == sec) && !yield(ref, attempt.inFlightState()) {
				return
			}
		}
		for ref := range h.results.of(sec) {
			if !yield(ref, pb.InFlightState_IN_FLIGHT_STATE_RESULT_PENDING) {
				return
			}
		}
		for ref := range h.rejections.of(sec) {
			if !yield(ref, pb.InFlightState_IN_FLIGHT_STATE_QUEUED) {
				return
			}
		}
	}
}

func (h *Holdings) stateOf(ref Ref) pb.InFlightState {
	if attempt, found := h.slots.attempts.get(ref); found {
		return attempt.inFlightState()
	}
	if h.results.held.has(ref) {
		return pb.InFlightState_IN_FLIGHT_STATE_RESULT_PENDING
	}
	if h.rejections.held.has(ref) {
		return pb.InFlightState_IN_FLIGHT_STATE_QUEUED
	}
	return pb.InFlightState_IN_FLIGHT_STATE_NOT_HELD
}

func (a *Attempt) inFlightState() pb.InFlightState {
	if a.state == queued {
		return pb.InFlightState_IN_FLIGHT_STATE_QUEUED
	}
	return pb.InFlightState_IN_FLIGHT_STATE_RUNNING
}

// counts gives the attempts held, and the bytes of results without a final acknowledgement.
func (h *Holdings) counts() (held, unackedBytes int) {
	return h.slots.attempts.len() + h.results.held.len(), h.results.bytes
}
