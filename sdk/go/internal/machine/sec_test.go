package machine

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// desk is a shell for tests: it does what effects ask for, and keeps what user code and SECs would see.
type desk struct {
	t        *testing.T
	now      time.Time
	fleet    *Fleet
	open     map[string]bool
	runs     map[Ref]int // how often user code was started
	running  map[place]Ref
	stops    map[Ref][]StopReason
	calls    []Call
	closed   []Closed
	notes    []Note
	sequence map[string]uint64
}

func newDesk(t *testing.T, slots int, bootstrap ...string) *desk {
	served := map[Side]string{{"act", "1", Action}: "", {"act", "1", Undo}: ""}
	d := &desk{
		t: t, now: time.Unix(1_000_000, 0), open: map[string]bool{}, runs: map[Ref]int{}, running: map[place]Ref{},
		stops: map[Ref][]StopReason{}, sequence: map[string]uint64{},
	}
	d.fleet = NewFleet(&pb.Hello{WorkerId: "w"}, NewHoldings(served, map[string]int{"": slots}), bootstrap)
	d.do(d.fleet.Start(d.now))
	return d
}

func (d *desk) do(effects []Effect) {
	for _, effect := range effects {
		switch e := effect.(type) {
		case Start:
			d.runs[e.Attempt.Ref]++
			if other, busy := d.running[e.Attempt.Ref.place()]; busy {
				d.t.Fatalf("%v starts while %v runs", e.Attempt.Ref, other)
			}
			d.running[e.Attempt.Ref.place()] = e.Attempt.Ref
		case Stop:
			d.stops[e.Ref] = append(d.stops[e.Ref], e.Reason)
		case Connect:
			if d.open[e.Address] {
				d.t.Fatalf("a second stream to %s", e.Address)
			}
			d.open[e.Address] = true
			d.sequence[e.Address] = 0
			d.do(d.fleet.Opened(d.fleet.Session(e.Address), d.now))
		case EndStream:
			if d.open[e.Address] {
				d.end(e.Address, e.Why)
			}
		case Call:
			d.calls = append(d.calls, e)
		case Closed:
			d.closed = append(d.closed, e)
		case Note:
			d.notes = append(d.notes, e)
		}
	}
	d.checkWindows()
}

func (d *desk) checkWindows() {
	total := 0
	for _, g := range d.fleet.holdings.windows.grants.all() {
		total += g.granted[""]
	}
	if slots := d.fleet.holdings.slots.sizes[""]; total > slots {
		d.t.Fatalf("%d granted of %d slots", total, slots)
	}
}

func (d *desk) session(address string) *Session {
	d.t.Helper()
	s := d.fleet.Session(address)
	if s == nil {
		d.t.Fatalf("no session at %s", address)
	}
	return s
}

// pull takes all frames that are to be written, as one.
func (d *desk) pull(address string) *pb.ConnectRequest {
	all := &pb.ConnectRequest{}
	for d.open[address] {
		frame := d.session(address).NextFrame(d.now)
		if frame == nil {
			break
		}
		if proto.Size(frame) > FrameBytes {
			d.t.Fatalf("a frame of %d bytes", proto.Size(frame))
		}
		capacity := frame.Capacity
		proto.Merge(all, frame)
		if capacity != nil {
			all.Capacity = capacity
		}
		d.do(d.fleet.Written(d.now))
	}
	return all
}

// send lets a SEC say something, with the next sequence.
func (d *desk) send(address string, frame *pb.ConnectResponse) {
	d.t.Helper()
	d.sequence[address]++
	frame.Sequence = d.sequence[address]
	d.do(d.fleet.Received(d.session(address), frame, d.now))
}

func (d *desk) welcome(address, sec string, secs ...string) *pb.Hello {
	d.t.Helper()
	hello := d.pull(address).GetHello()
	set := &pb.SecSet{Revision: 1}
	for _, other := range secs {
		set.Secs = append(set.Secs, &pb.Sec{SecId: other, Address: other + ":1"})
	}
	d.send(address, &pb.ConnectResponse{Welcome: &pb.Welcome{
		ProtocolVersion: 1, SecId: sec, Secs: set,
		HeartbeatInterval: durationpb.New(5 * time.Second), HeartbeatTimeout: durationpb.New(15 * time.Second),
	}})
	return hello
}

func (d *desk) end(address, why string) {
	delete(d.open, address)
	d.do(d.fleet.Ended(d.session(address), d.now, why, 0.5))
}

func (d *desk) wait(duration time.Duration) {
	for until := d.now.Add(duration); ; {
		at := d.fleet.NextDeadline()
		if at.IsZero() || at.After(until) {
			d.now = until
			return
		}
		if at.After(d.now) {
			d.now = at
		} else {
			d.now = d.now.Add(time.Millisecond)
		}
		d.do(d.fleet.Tick(d.now, 0))
	}
}

func (d *desk) finish(ref Ref, outcome Outcome) {
	delete(d.running, ref.place())
	d.do(d.fleet.Finished(ref, outcome, d.now))
}

func ref(saga string, kind pb.InvocationKind, attempt int32) Ref {
	return Ref{saga, "node", kind, attempt}
}

func invocation(r Ref, epoch int64) *pb.Invocation {
	return &pb.Invocation{Ref: r.message(), Action: "act", Version: "1", Epoch: epoch}
}

func invocations(epoch int64, refs ...Ref) *pb.ConnectResponse {
	frame := &pb.ConnectResponse{}
	for _, r := range refs {
		frame.Invocations = append(frame.Invocations, invocation(r, epoch))
	}
	return frame
}

func ack(r Ref, status pb.ResultStatus) *pb.ResultAck {
	return &pb.ResultAck{Ref: r.message(), Status: status}
}

var success = Outcome{Output: &pb.Payload{Value: &pb.Payload_Json{Json: "1"}}}
