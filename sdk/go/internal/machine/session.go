package machine

import (
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

type sessionState int

const (
	idle     sessionState = iota // no stream; the next one is due
	greeting                     // a stream is open for our hello and has not brought the welcome
	open                         // everything may flow
	ending                       // we decided that the stream is over; what it still brings is not looked at
	closing                      // drained, all said and confirmed; our half is closed
	closed                       // over for good
)

var sessionStates = [...]string{"idle", "greeting", "open", "ending", "closing", "closed"}

func (s sessionState) String() string { return sessionStates[s] }

type sessionEvent int

const (
	streamOpened sessionEvent = iota
	welcomeCame
	streamGivenUp
	allSaid
	streamEnded
	sessionClosed
)

// transitions is what README section 3 draws. A move that is not in it is a fault of the shell.
var transitions = map[sessionState]map[sessionEvent]sessionState{
	idle:     {streamOpened: greeting, sessionClosed: closed},
	greeting: {welcomeCame: open, streamGivenUp: ending, streamEnded: idle},
	open:     {streamGivenUp: ending, allSaid: closing, streamEnded: idle},
	ending:   {streamEnded: idle},
	closing:  {streamEnded: closed},
}

// Session is this worker with one address, and with the SEC there: its streams one after another, frame by frame. Which
// SEC answers is known from its welcome, and may be another one each time.
type Session struct {
	Address string

	sec      string // expected there, or welcomed us; "" while nobody knows who will answer
	state    sessionState
	hello    *pb.Hello
	holdings *Holdings
	effects  *effects
	terms    terms
	pulse    pulse
	reports  reports
	failures int
	error    string

	// Of the stream that is open:
	streamEpoch int64
	sequence    uint64
	welcomedAt  time.Time
	deadline    time.Time
	helloDue    bool
	drainSaid   bool
	drained     bool
	brokeRules  bool
}

func newSession(address string, hello *pb.Hello, holdings *Holdings) *Session {
	return &Session{
		Address:  address,
		hello:    hello,
		holdings: holdings,
		effects:  &holdings.effects,
		terms:    defaultTerms,
		pulse:    pulse{streams: &holdings.streams, terms: defaultTerms},
		reports:  reports{holdings: holdings},
	}
}

// ---- events

func (s *Session) opened(now time.Time) {
	s.move(streamOpened)
	s.streamEpoch = s.holdings.opened(s.Address)
	s.sequence, s.welcomedAt = 0, time.Time{}
	s.deadline = now.Add(handshakeTime)
	s.helloDue, s.brokeRules = true, false
	s.drainSaid, s.drained = false, false
	s.reports.clear()
}

func (s *Session) received(frame *pb.ConnectResponse, now time.Time) {
	switch s.state {
	case ending:
		return
	case idle, closed:
		panic(fmt.Sprintf("machine: a frame in state %v", s.state))
	}
	if problem := s.problem(frame); problem != "" {
		s.brokeRules = true
		s.effects.note(slog.LevelError, "the SEC broke the protocol", append(s.names(), "problem", problem)...)
		s.giveUp("protocol error: " + problem)
		return
	}
	s.sequence = frame.GetSequence()
	s.pulse.heardAt = now
	if frame.Welcome != nil {
		s.welcome(frame.Welcome, now)
	}
	s.process(frame, now)
}

// ended: draw is random, from 0 to 1.
func (s *Session) ended(now time.Time, why string, draw float64) {
	steady := !s.welcomedAt.IsZero() && now.Sub(s.welcomedAt) >= steadyTime
	s.move(streamEnded)
	s.holdings.ended(s.Address, now)
	s.deadline = time.Time{}
	if steady && !s.brokeRules {
		s.failures = 0
	} else {
		s.failures++
	}
	s.effects.note(s.level(), "a stream ended", append(s.names(), "why", why, "failures", s.failures)...)
	switch {
	case s.state == closed:
		s.effects.add(Closed{Address: s.Address})
	case s.error != "":
		s.close()
	default:
		s.conclude(now)
	}
	if s.state == idle {
		s.reconnect(now, draw)
	}
}

func (s *Session) tick(now time.Time, lag time.Duration) {
	s.pulse.stoodStill(lag)
	if s.state == open {
		if dead := s.pulse.tick(now); dead != "" {
			s.giveUp(dead)
		}
	} else if due(s.deadline, now) {
		if s.welcomedAt.IsZero() {
			s.giveUp("no welcome in time")
		} else {
			s.giveUp("no end of the stream in time")
		}
	}
	s.conclude(now)
}

func (s *Session) nextDeadline() time.Time {
	if s.state == open {
		return s.pulse.nextDeadline()
	}
	return s.deadline
}

// ---- frames

// HasFrame says whether NextFrame gives one.
func (s *Session) HasFrame() bool {
	h := s.holdings
	switch s.state {
	case greeting:
		return s.helloDue
	case open:
		return s.hasAnswers() || s.pulse.isDue || (h.draining && !s.drainSaid) || s.reports.pending() ||
			h.progress.hasQueued(s.sec) || h.windows.hasNews(s.Address, h.closed())
	case closing:
		return s.hasAnswers()
	}
	return false
}

func (s *Session) hasAnswers() bool {
	return s.holdings.results.hasQueued(s.sec) || s.holdings.rejections.hasQueued(s.sec)
}

// Queued is how many results and rejections could share the next frame.
func (s *Session) Queued() int {
	if s.state != open && s.state != closing {
		return 0
	}
	queued := len(s.holdings.results.lanes[s.sec])
	if lane := s.holdings.rejections.lanes[s.sec]; lane != nil {
		queued += len(lane.queued)
	}
	return queued
}

// NextFrame is the next frame to write, with all that is queued and fits; nil while there is nothing to say.
func (s *Session) NextFrame(now time.Time) *pb.ConnectRequest {
	if !s.HasFrame() {
		return nil
	}
	frame := &pb.ConnectRequest{AckSequence: s.sequence}
	budget := s.terms.frameBytes - frameReserve
	if s.state == greeting {
		s.addHello(frame, budget)
		return frame
	}
	if s.state == open {
		budget = s.addFacts(frame, budget, now)
	}
	s.addAnswers(frame, budget, now)
	return frame
}

func (s *Session) addHello(frame *pb.ConnectRequest, budget int) {
	s.helloDue = false
	hello := proto.CloneOf(s.hello)
	hello.StreamEpoch = s.streamEpoch
	hello.Capacity = s.capacity()
	s.reports.tellAll(s.sec)
	hello.InFlight, _ = s.reports.take(budget - proto.Size(hello))
	frame.Hello = hello
}

// addFacts adds what the session itself has to say. All but reports is small and of fixed size.
func (s *Session) addFacts(frame *pb.ConnectRequest, budget int, now time.Time) int {
	h := s.holdings
	if s.pulse.isDue {
		held, bytes := h.counts()
		frame.Heartbeat = s.pulse.beat(now, held, bytes)
	}
	if h.windows.hasNews(s.Address, h.closed()) {
		frame.Capacity = s.capacity()
	}
	if h.draining && !s.drainSaid {
		s.drainSaid = true
		frame.Drain = &pb.Drain{Timeout: durationpb.New(h.drainLeft(now)), Reason: "the worker stops"}
	}
	if s.reports.pending() {
		frame.InFlight, budget = s.reports.take(budget)
	}
	return budget
}

func (s *Session) addAnswers(frame *pb.ConnectRequest, budget int, now time.Time) {
	h := s.holdings
	frame.Progress, budget = h.progress.take(s.sec, budget, now)
	if h.rejections.hasQueued(s.sec) {
		nonce := h.streams.nonce + 1
		if frame.Heartbeat != nil {
			nonce = frame.Heartbeat.Nonce
		}
		frame.Rejections, budget = h.rejections.take(s.sec, budget, nonce)
		if h.rejections.held.len() >= rejectionsHurry {
			s.pulse.hurry(now)
		}
	}
	frame.Results = h.results.take(s.sec, budget, unackedResultsMax)
}

func (s *Session) capacity() *pb.Capacity {
	return &pb.Capacity{
		MaxInFlightByPool: s.holdings.windows.tell(s.Address, s.holdings.closed()),
		MaxInFlightBytes:  outstandingBytesMax,
	}
}

// problem says how a frame breaks the protocol so that nothing on the stream can be trusted any more (W12).
func (s *Session) problem(frame *pb.ConnectResponse) string {
	version := frame.GetWelcome().GetProtocolVersion()
	switch {
	case frame.GetSequence() != s.sequence+1:
		return fmt.Sprintf("sequence %d after %d", frame.GetSequence(), s.sequence)
	case frame.Welcome != nil && s.state != greeting:
		return "a second welcome"
	case frame.Welcome == nil && s.state == greeting:
		return "the first frame has no welcome"
	case frame.Welcome != nil && (version < 1 || version > ProtocolVersion):
		return fmt.Sprintf("protocol version %d, while %d was offered", version, ProtocolVersion)
	}
	return ""
}

func (s *Session) welcome(welcome *pb.Welcome, now time.Time) {
	s.move(welcomeCame)
	s.welcomedAt, s.deadline = now, time.Time{}
	s.terms = termsOf(welcome)
	s.pulse.start(now, s.terms)
	s.sec = welcome.GetSecId()
	if s.sec == "" {
		s.sec = s.Address
	}
	s.holdings.welcomed(s.Address, s.sec, s.terms.payloadBytes, now)
	s.effects.add(Welcomed{s.Address, s.sec, welcome.GetRefusedActions()})
	if welcome.Secs != nil {
		s.effects.add(members{welcome.Secs})
	}
}

// process takes the parts of a frame in the order that W11 names.
func (s *Session) process(frame *pb.ConnectResponse, now time.Time) {
	h := s.holdings
	for _, ack := range frame.GetResultAcks() {
		h.acknowledge(ack, s.sec, now)
	}
	if len(frame.GetSagaMoves()) > 0 {
		h.move(s.sec, frame.GetSagaMoves(), now)
	}
	if len(frame.GetAdoptions()) > 0 {
		h.adopt(s.sec, frame.GetAdoptions(), now)
		for _, adoption := range frame.GetAdoptions() {
			s.reportAbout(adoption.GetRefs())
		}
	}
	for _, invocation := range frame.GetInvocations() {
		h.receive(invocation, s.sec, now)
	}
	for _, cancellation := range frame.GetCancellations() {
		if ref := RefOf(cancellation.GetRef()); !h.cancel(ref, stopReasonOf(cancellation.GetReason())) {
			s.reports.about(ref)
		}
	}
	if frame.Reconcile != nil {
		if len(frame.Reconcile.GetRefs()) > 0 {
			s.reportAbout(frame.Reconcile.GetRefs())
		} else {
			s.reports.tellAll(s.sec)
		}
	}
	if nonce := frame.GetHeartbeatNonce(); nonce > 0 {
		s.pulse.echoed(nonce)
		h.rejections.confirm(s.sec, nonce)
	}
	s.drained = s.drained || frame.GetDrained()
	if len(frame.GetDemands()) > 0 {
		h.windows.demand(s.Address, frame.GetDemands(), now)
	}
	if frame.Secs != nil {
		s.effects.add(members{frame.Secs})
	}
	if frame.GoAway != nil {
		s.goAway(frame.GoAway)
	}
}

func (s *Session) reportAbout(refs []*pb.InvocationRef) {
	for _, ref := range refs {
		s.reports.about(RefOf(ref))
	}
}

func (s *Session) goAway(goAway *pb.GoAway) {
	level := slog.LevelInfo
	switch goAway.GetReason() {
	case pb.GoAwayReason_GO_AWAY_REASON_PROTOCOL_ERROR:
		level = slog.LevelError
		s.brokeRules = true
	case pb.GoAwayReason_GO_AWAY_REASON_REPLACED:
		level = slog.LevelError
		if !s.holdings.streams.replacedByUs(s.Address) {
			// So another process has: a copy of this one, with its id. Two would fight for ever.
			s.error = "another process uses the worker id " + s.hello.GetWorkerId()
		}
	}
	s.effects.note(level, "the SEC ends the stream",
		append(s.names(), "reason", goAway.GetReason().String(), "message", goAway.GetMessage())...)
	if goAway.GetReason() == pb.GoAwayReason_GO_AWAY_REASON_REPLACED {
		s.giveUp("replaced")
	}
}

// ---- state

func (s *Session) move(event sessionEvent) {
	target, legal := transitions[s.state][event]
	if !legal {
		panic(fmt.Sprintf("machine: event %d in state %v", event, s.state))
	}
	s.state = target
}

// giveUp lets the stream end, if there is one.
func (s *Session) giveUp(why string) {
	if s.state == greeting || s.state == open {
		s.move(streamGivenUp)
	}
	s.deadline = time.Time{}
	s.effects.add(EndStream{Address: s.Address, Why: why})
}

// conclude ends, while the worker leaves, what has nothing left to say, or no time left to say it. As long as anything is
// held, from whichever SEC, each session stays: sagas move, and results with them.
func (s *Session) conclude(now time.Time) {
	h := s.holdings
	if !h.draining {
		return
	}
	switch s.state {
	case idle:
		if h.givenUp || !(h.busy() || s.owesRejections()) {
			s.close()
		}
	case greeting:
		nothingCanCome := h.windows.grantsNothing(s.Address)
		if h.givenUp || (nothingCanCome && !(h.busy() || s.owesRejections())) {
			s.giveUp("the worker leaves")
		}
	case open:
		allIsSaid := s.drained && !h.busy() && !s.HasFrame()
		if allIsSaid || h.givenUp {
			s.move(allSaid)
			s.deadline = now.Add(halfCloseTime)
			why := "drained"
			if !allIsSaid {
				why = "the drain's time is over"
			}
			s.effects.add(EndStream{s.Address, why, true})
		}
	}
}

func (s *Session) owesRejections() bool {
	for range s.holdings.rejections.of(s.sec) {
		return true
	}
	return false
}

// close: there will be no stream any more; only while there is none.
func (s *Session) close() {
	s.move(sessionClosed)
	s.effects.add(Closed{s.Address, s.error})
}

// reconnect at once after a stream that worked; else with full jitter under a ceiling that doubles, for ever (W56).
func (s *Session) reconnect(now time.Time, draw float64) {
	var delay time.Duration
	if s.failures > 0 {
		ceiling := min(reconnectMax, reconnectMin<<min(s.failures-1, 16))
		delay = time.Duration(draw * float64(ceiling))
	}
	fresh := s.failures > 0 && s.failures%freshChannel == 0
	s.effects.add(reconnect{s.Address, now.Add(delay), fresh, s.failures})
}

// level: failures that go on are told of ever more rarely.
func (s *Session) level() slog.Level {
	switch {
	case s.holdings.draining:
		return slog.LevelInfo
	case s.failures&(s.failures-1) != 0:
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

func (s *Session) names() []any {
	return []any{"sec", s.sec, "address", s.Address}
}
