package machine

// epochs remembers the highest epoch seen of each saga, so that a SEC that lost a saga can't start anything here (W21).
// The sagas seen least recently are forgotten first.
type epochs struct{ highest *ordered[string, int64] }

func newEpochs() *epochs { return &epochs{newOrdered[string, int64]()} }

func (e *epochs) stale(saga string, epoch int64) bool {
	highest, _ := e.highest.get(saga)
	return epoch < highest
}

func (e *epochs) see(saga string, epoch int64) {
	highest, _ := e.highest.get(saga)
	e.highest.remove(saga)
	e.highest.put(saga, max(epoch, highest))
	e.highest.trim(epochsMax)
}
