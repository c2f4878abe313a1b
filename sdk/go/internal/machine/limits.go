package machine

import (
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Bounds and times of a worker. What a Welcome sets is a default that is in force until it comes.
const (
	ProtocolVersion = 1

	SlotsMax      = 100_000 // what Capacity may grant
	ActionsMax    = 1_000   // what Hello may list
	IdentityBytes = 256
	BuildIDBytes  = 128
	LabelsMax     = 32
	LabelBytes    = 128

	// Invocations held beyond the slots, for each stream: a window that shrinks is overdrawn a little (W16).
	excessMax = 1

	// Results without a final acknowledgement at which the worker grants nothing, so that a slow log slows dispatch
	// (W18); it grants again below three quarters of both.
	unackedBytesMax   = 64 << 20
	unackedResultsMax = 10_000
	resumePercent     = 75

	// Payload bytes that one SEC may have outstanding.
	outstandingBytesMax = 64 << 20

	// Rejections kept until they were surely read. The oldest beyond that are forgotten: should their stream break just
	// then, they count as lost, which is safe and costs an attempt.
	rejectionsMax = 10_000
	// So many unconfirmed rejections ask for a heartbeat, because its echo confirms them.
	rejectionsHurry = 1_000

	// Sagas whose highest epoch is remembered (W21).
	epochsMax = 65_536
	// SECs whose address is remembered.
	addressesMax = 1_000
	// Attempts asked about by name and not answered yet; older questions beyond that go unanswered.
	askedMax = 20_000

	callsMax       = 4 // calls of ReportResults under way
	callResultsMax = 1_000

	handshakeTime = 10 * time.Second // from opening a stream to its welcome (W5)
	halfCloseTime = 5 * time.Second  // from having said everything to the SEC's end of the stream (W52)
	CancelGrace   = 5 * time.Second  // for what still ran at the end of a drain (W53)
	steadyTime    = time.Second      // a stream that was open so long and ends is no failure (W56)
	reconnectMin  = 100 * time.Millisecond
	reconnectMax  = 10 * time.Second
	freshChannel  = 3 // failures in a row after which the connection is thrown away (W57)
	progressTime  = 100 * time.Millisecond
	splitTime     = time.Second // windows follow demand at most so often
	astrayTime    = 2 * time.Second
	searchMin     = 100 * time.Millisecond
	searchMax     = 10 * time.Second
	retryDelay    = time.Second
	retryDelayMin = 50 * time.Millisecond
	retryDelayMax = time.Minute

	itemOverhead  = 8 // tag and length of an item in a frame, generously
	FrameBytes    = 1 << 20
	frameBytesMin = 16 << 10
	HelloBytesMax = FrameBytes / 2 // the rest of the first frame is for what is held
	frameReserve  = 2 << 10        // room for the fields of fixed size
	PayloadBytes  = 256 << 10
	payloadMargin = 4 << 10 // what a frame holds beside its largest payload at least

	heartbeatMin = time.Millisecond
	heartbeatMax = 5 * time.Minute
)

// searchDelay is how long the search for a SEC that can take something rests after failures in a row.
func searchDelay(failures int) time.Duration {
	return min(searchMax, searchMin<<min(failures-1, 16))
}

// terms is what a Welcome sets for one stream.
type terms struct {
	heartbeatInterval, heartbeatTimeout time.Duration
	frameBytes, payloadBytes            int
}

var defaultTerms = terms{5 * time.Second, 15 * time.Second, FrameBytes, PayloadBytes}

// termsOf takes the default for what a SEC leaves out, and bounds what could not work.
func termsOf(welcome *pb.Welcome) terms {
	t := defaultTerms
	t.heartbeatInterval = heartbeat(welcome.GetHeartbeatInterval(), t.heartbeatInterval)
	t.heartbeatTimeout = max(heartbeat(welcome.GetHeartbeatTimeout(), t.heartbeatTimeout), 2*t.heartbeatInterval)
	if n := int(welcome.GetMaxFrameBytes()); n > 0 {
		t.frameBytes = min(max(n, frameBytesMin), FrameBytes)
	}
	if n := int(welcome.GetMaxPayloadBytes()); n > 0 {
		t.payloadBytes = min(n, PayloadBytes)
	}
	t.payloadBytes = max(1, min(t.payloadBytes, t.frameBytes-payloadMargin))
	return t
}

func heartbeat(d *durationpb.Duration, absent time.Duration) time.Duration {
	if given := durationOf(d); given > 0 {
		return min(max(given, heartbeatMin), heartbeatMax)
	}
	return absent
}

// durationOf is AsDuration for whatever a peer may send: what does not fit is cut.
func durationOf(d *durationpb.Duration) time.Duration {
	if d.GetSeconds() > math.MaxInt64/int64(time.Second)-1 {
		return math.MaxInt64
	}
	return max(0, d.AsDuration())
}

// after adds without running over.
func after(now time.Time, d time.Duration) time.Time {
	return now.Add(min(d, 100*365*24*time.Hour))
}

// sooner is the earlier of two times, of which a zero one is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// due says whether a time, if it is one, has come.
func due(at, now time.Time) bool {
	return !at.IsZero() && !now.Before(at)
}
