package machine

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// model is what two SECs know: who owns each saga, what was sent, and what was answered.
type model struct {
	*desk
	random   *rand.Rand
	owner    map[string]string
	epoch    map[string]int64
	sent     map[Ref]bool
	answered map[Ref]string // "result" or "rejection"
}

// seeds are the same on every machine; SAGALINE_EXPLORE=20000 gives so many of the moment instead, and the name of the test that
// fails is its seed.
func seeds(t *testing.T, usually uint64) (first, end uint64) {
	if text := os.Getenv("SAGALINE_EXPLORE"); text != "" {
		count, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			t.Fatalf("SAGALINE_EXPLORE=%q is no number", text)
		}
		first = uint64(time.Now().UnixNano())
		return first, first + count
	}
	return 0, usually
}

// TestRandomSchedules lets streams break, sagas move, frames come twice and results be refused, and then lets everything
// come to rest: every attempt is answered exactly one way, ran at most once, and nothing is left.
func TestRandomSchedules(t *testing.T) {
	for seed, end := seeds(t, 300); seed < end; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := &model{
				desk: newDesk(t, 3, "a:1"), random: rand.New(rand.NewPCG(seed, 7)), owner: map[string]string{},
				epoch: map[string]int64{}, sent: map[Ref]bool{}, answered: map[Ref]string{},
			}
			for range 150 {
				m.step()
			}
			m.rest()
		})
	}
}

func (m *model) addresses() []string {
	var up []string
	for _, sec := range []string{"a", "b"} {
		if m.open[sec+":1"] {
			up = append(up, sec)
		}
	}
	return up
}

func (m *model) step() {
	up := m.addresses()
	if len(up) == 0 {
		m.wait(time.Second)
		return
	}
	sec := up[m.random.IntN(len(up))]
	if m.session(sec+":1").state != open {
		if m.random.IntN(4) == 0 {
			m.end(sec+":1", "refused")
		} else {
			m.welcome(sec+":1", sec, "a", "b")
		}
		return
	}
	switch m.random.IntN(10) {
	case 0, 1, 2:
		m.invoke(sec)
	case 3, 4:
		m.finishOne()
	case 5, 6:
		m.read(sec, false)
	case 7:
		m.moveOne(sec)
	case 8:
		if m.random.IntN(3) == 0 {
			m.end(sec+":1", "broken")
		}
	case 9:
		m.wait(time.Duration(m.random.IntN(3000)) * time.Millisecond)
	}
}

func (m *model) invoke(sec string) {
	saga := fmt.Sprint("saga", m.random.IntN(6))
	if m.owner[saga] == "" {
		m.owner[saga], m.epoch[saga] = sec, 1
	}
	kind := Action
	if m.random.IntN(4) == 0 {
		kind = Undo
	}
	r := ref(saga, kind, int32(1+m.random.IntN(4)))
	epoch := m.epoch[saga]
	if m.owner[saga] != sec {
		epoch-- // a SEC that has lost the saga
		if ran := m.runs[r]; ran == 0 && !m.sent[r] {
			m.send(sec+":1", invocations(epoch, r))
			if m.runs[r] > 0 && m.epoch[saga] > 1 { // the worker was told when it moved
				m.t.Fatalf("%v ran under a lower epoch", r)
			}
			m.sent[r] = true
		}
		return
	}
	if m.answered[r] != "" {
		return // a number is never used twice
	}
	m.sent[r] = true
	m.send(sec+":1", invocations(epoch, r))
}

func (m *model) finishOne() {
	// In an order of their own: that of a map is another in each run, and the seed would not be all there is.
	if running := slices.SortedFunc(maps.Values(m.running), byName); len(running) > 0 {
		m.finish(running[m.random.IntN(len(running))], success)
	}
}

func byName(a, b Ref) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) }

func (m *model) moveOne(from string) {
	for _, saga := range slices.Sorted(maps.Keys(m.owner)) {
		if m.owner[saga] != from || m.random.IntN(2) == 0 || !m.open["a:1"] || !m.open["b:1"] {
			continue
		}
		to := "a"
		if from == "a" {
			to = "b"
		}
		if m.session(to+":1").state != open {
			return
		}
		m.owner[saga] = to
		m.epoch[saga]++
		m.send(from+":1", &pb.ConnectResponse{SagaMoves: []*pb.SagaMoved{
			{SagaId: saga, Epoch: m.epoch[saga], Owner: &pb.Sec{SecId: to, Address: to + ":1"}},
		}})
		m.send(to+":1", &pb.ConnectResponse{Adoptions: []*pb.Adoption{{SagaId: saga, Epoch: m.epoch[saga]}}})
		return
	}
}

// read takes what was written to a SEC and answers it, or at random loses the acknowledgement.
func (m *model) read(sec string, surely bool) {
	frame := m.pull(sec + ":1")
	answer := &pb.ConnectResponse{HeartbeatNonce: frame.GetHeartbeat().GetNonce()}
	for _, result := range frame.GetResults() {
		r := RefOf(result.GetRef())
		if m.answered[r] == "rejection" || m.runs[r] != 1 {
			m.t.Fatalf("a result of %v, which was answered with %q and ran %d times", r, m.answered[r], m.runs[r])
		}
		if owner := m.owner[r.Saga]; owner != sec {
			told := ack(r, notOwner)
			told.Owner = &pb.Sec{SecId: owner, Address: owner + ":1"}
			answer.ResultAcks = append(answer.ResultAcks, told)
			continue
		}
		m.answered[r] = "result"
		switch {
		case surely || m.random.IntN(2) == 0:
			answer.ResultAcks = append(answer.ResultAcks, ack(r, recorded))
		case m.random.IntN(2) == 0:
			answer.ResultAcks = append(answer.ResultAcks, ack(r, retry))
		default:
			m.end(sec+":1", "broken before the acknowledgement")
			return
		}
	}
	for _, rejection := range frame.GetRejections() {
		r := RefOf(rejection.GetRef())
		if m.answered[r] == "result" || m.runs[r] > 0 {
			m.t.Fatalf("a rejection of %v, which ran", r)
		}
		m.answered[r] = "rejection"
	}
	m.send(sec+":1", answer)
}

func (m *model) rest() {
	for range 400 {
		for _, sec := range m.addresses() {
			if m.session(sec+":1").state == open {
				m.read(sec, true)
			} else {
				m.welcome(sec+":1", sec, "a", "b")
			}
		}
		m.finishOne()
		m.wait(time.Second)
	}
	for r := range m.sent {
		if m.answered[r] == "" {
			m.t.Errorf("%v has no answer: ran %d times", r, m.runs[r])
		}
		if m.runs[r] > 1 {
			m.t.Errorf("%v ran %d times", r, m.runs[r])
		}
	}
	if m.fleet.holdings.busy() || m.fleet.holdings.rejections.held.len() > 0 {
		m.t.Error("something is left")
	}
}

// TestSplit: shares sum up to the slots, nobody gets less than nothing, and each with work gets one while there are any.
func TestSplit(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		slots, wants := 1+random.IntN(12), make([]want, 1+random.IntN(6))
		for i := range wants {
			wants[i] = want{random.IntN(5), random.IntN(5) * random.IntN(2)}
		}
		sum := 0
		shares := split(slots, wants, random.IntN(100))
		for i, share := range shares {
			sum += share
			if share < 0 || (share == 0 && wants[i].ready > 0 && slots >= len(wants)) {
				t.Fatalf("%d slots, %v: %v", slots, wants, shares)
			}
		}
		if sum != slots {
			t.Fatalf("%d slots, %v: %v", slots, wants, shares)
		}
	}
}
