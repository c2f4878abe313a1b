package machine

import (
	"maps"
	"slices"
	"time"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// want is what a SEC wants of a pool: what it has here already, and what waits there.
type want struct{ held, ready int }

// split divides the slots of one pool. If all that is wanted fits, each gets that, and the rest evenly, so that a SEC
// with new work need not ask first. If not, each with work gets one at least, as long as there are any, and the rest
// goes in proportion. Who comes first where not all can be served changes with the turn.
func split(slots int, wants []want, turn int) []int {
	count, total := len(wants), 0
	for _, w := range wants {
		total += w.held + w.ready
	}
	shares := make([]int, count)
	if total <= slots {
		each, rest := (slots-total)/count, (slots-total)%count
		for i, w := range wants {
			shares[i] = w.held + w.ready + each
			if i < rest {
				shares[i]++
			}
		}
		return shares
	}
	order := make([]int, count)
	for i := range order {
		order[i] = (i + turn) % count
	}
	slices.SortStableFunc(order, func(a, b int) int { return wants[a].urgency() - wants[b].urgency() })
	for _, i := range order[:min(slots, count)] {
		shares[i] = 1
	}
	left := max(slots-count, 0)
	remainders := make([]int, count)
	given := 0
	for i, w := range wants {
		shares[i] += left * (w.held + w.ready) / total
		remainders[i] = left * (w.held + w.ready) % total
		given += shares[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return remainders[b] - remainders[a] })
	for _, i := range order[:slots-given] {
		shares[i]++
	}
	return shares
}

func (w want) urgency() int {
	switch {
	case w.ready > 0:
		return 0
	case w.held > 0:
		return 1
	}
	return 2
}

// grant is one stream's share of every pool.
type grant struct {
	target, granted map[string]int // granted: what the stream was told last
	sec             string
	welcomed        bool // until then it has no part in the split
	ready           map[string]int
}

// windows splits the slots over the streams so that what is granted never exceeds them: a window grows only by what no
// other holds any more. A split is made at once when a stream comes or goes, and else at most once a second.
type windows struct {
	slots     map[string]int
	used      func() map[secPool]int
	grants    *ordered[string, *grant] // by address
	free      map[string]int           // granted to nobody
	closed    bool
	news      map[string]bool
	turn      int
	splitLast time.Time
	splitAt   time.Time
}

func newWindows(slots map[string]int, used func() map[secPool]int) *windows {
	return &windows{
		slots:  slots,
		used:   used,
		grants: newOrdered[string, *grant](),
		free:   maps.Clone(slots),
		news:   map[string]bool{},
	}
}

// opened: until its welcome a stream may be granted what is free; nothing is taken from others for it.
func (w *windows) opened(address string) {
	w.grants.put(address, &grant{target: maps.Clone(w.free), granted: map[string]int{}, ready: map[string]int{}})
}

func (w *windows) welcomed(address, sec string, now time.Time) {
	g, _ := w.grants.get(address)
	g.sec, g.welcomed = sec, true
	w.split(now)
}

func (w *windows) ended(address string, now time.Time) {
	if g, found := w.grants.get(address); found {
		w.grants.remove(address)
		for pool, count := range g.granted {
			w.free[pool] += count
		}
		w.split(now)
	}
}

// demand: of pools that a SEC does not name, what it said before stands.
func (w *windows) demand(address string, demands []*pb.Demand, now time.Time) {
	g, _ := w.grants.get(address)
	for _, d := range demands {
		if _, known := w.slots[d.GetSlotPool()]; known {
			g.ready[d.GetSlotPool()] = int(max(d.GetReadyCount(), 0))
		}
	}
	if at := w.splitLast.Add(splitTime); !at.After(now) {
		w.split(now)
	} else if w.splitAt.IsZero() {
		w.splitAt = at
	}
}

func (w *windows) tick(now time.Time) {
	if due(w.splitAt, now) {
		w.split(now)
	}
}

// hasNews says whether a stream is to be told another window; closed: nobody is to get anything.
func (w *windows) hasNews(address string, closed bool) bool {
	if closed != w.closed {
		w.closed = closed
		w.judge()
	}
	return w.news[address]
}

// tell gives the window of a stream, which is told now.
func (w *windows) tell(address string, closed bool) map[string]int32 {
	w.closed = closed
	g, _ := w.grants.get(address)
	window := make(map[string]int32, len(w.slots))
	for pool := range w.slots {
		count := w.due(g, pool)
		w.free[pool] += g.granted[pool] - count
		g.granted[pool] = count
		window[pool] = int32(count)
	}
	w.judge()
	return window
}

// grantsNothing says whether a stream was told to send nothing.
func (w *windows) grantsNothing(address string) bool {
	g, found := w.grants.get(address)
	if !found {
		return true
	}
	for _, count := range g.granted {
		if count > 0 {
			return false
		}
	}
	return true
}

func (w *windows) due(g *grant, pool string) int {
	if w.closed {
		return 0
	}
	return min(g.target[pool], g.granted[pool]+w.free[pool])
}

func (w *windows) judge() {
	clear(w.news)
	for address, g := range w.grants.all() {
		for pool := range w.slots {
			if w.due(g, pool) != g.granted[pool] {
				w.news[address] = true
				break
			}
		}
	}
}

func (w *windows) split(now time.Time) {
	w.splitLast, w.splitAt = now, time.Time{}
	w.turn++
	var part []*grant
	waits := false
	for _, g := range w.grants.all() {
		if g.welcomed {
			part = append(part, g)
			for _, ready := range g.ready {
				waits = waits || ready > 0
			}
		}
	}
	if len(part) > 0 {
		used := map[secPool]int{}
		if len(part) > 1 {
			used = w.used()
		}
		for pool, slots := range w.slots {
			wants := make([]want, len(part))
			for i, g := range part {
				wants[i] = want{used[secPool{g.sec, pool}], g.ready[pool]}
			}
			for i, share := range split(slots, wants, w.turn) {
				part[i].target[pool] = share
			}
		}
	}
	if len(part) > 1 && waits {
		w.splitAt = now.Add(splitTime) // what each holds changes while work waits
	}
	w.judge()
}
