package machine

// stream is one that has not ended.
type stream struct {
	epoch    int64
	sec      string
	welcomed bool
}

// streams counts what grows over all streams of this worker, so that it grows for each SEC, also where it is reached at
// another address than before; and knows which stream leads to which SEC. Streams are told apart by the address that
// was dialled.
type streams struct {
	open  map[string]*stream
	epoch int64
	nonce uint64
}

func (s *streams) opened(address string) int64 {
	s.epoch++
	s.open[address] = &stream{epoch: s.epoch}
	return s.epoch
}

func (s *streams) welcomed(address, sec string) {
	s.open[address].sec, s.open[address].welcomed = sec, true
}

// ended gives the SEC that has no stream any more because of that, if there is one.
func (s *streams) ended(address string) (string, bool) {
	over := s.open[address]
	delete(s.open, address)
	if over == nil || !over.welcomed {
		return "", false
	}
	for _, other := range s.open {
		if other.welcomed && other.sec == over.sec {
			return "", false
		}
	}
	return over.sec, true
}

func (s *streams) nextNonce() uint64 {
	s.nonce++
	return s.nonce
}

// replacedByUs says whether a younger stream of this worker may have replaced one: of the same SEC, or not welcomed yet.
func (s *streams) replacedByUs(address string) bool {
	mine := s.open[address]
	for _, other := range s.open {
		if mine != nil && other.epoch > mine.epoch && (!other.welcomed || other.sec == mine.sec) {
			return true
		}
	}
	return false
}
