package machine

import (
	"slices"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// membership is the newest set of SECs that was taken: sets come from every SEC, at any time.
type membership struct {
	addresses *ordered[string, string] // of the SECs to hold streams to
	revision  int64
}

const noRevision = -1

// forgetRevision: no SEC can be heard, and revisions may begin anew.
func (m *membership) forgetRevision() { m.revision = noRevision }

// take says whether a set is newer. One without SECs says nothing: somebody sent it.
func (m *membership) take(set *pb.SecSet) bool {
	if set.GetRevision() <= m.revision || len(set.GetSecs()) == 0 {
		return false
	}
	m.revision = set.GetRevision()
	all, assigned := newOrdered[string, string](), newOrdered[string, string]()
	for _, sec := range set.GetSecs() {
		if sec.GetSecId() == "" || sec.GetAddress() == "" {
			continue
		}
		all.put(sec.GetSecId(), sec.GetAddress())
		if slices.Contains(set.GetAssignedSecIds(), sec.GetSecId()) {
			assigned.put(sec.GetSecId(), sec.GetAddress())
		}
	}
	m.addresses = all
	if assigned.len() > 0 {
		m.addresses = assigned
	}
	return true
}

// has says whether a SEC of the set is at an address.
func (m *membership) has(address string) bool {
	for _, other := range m.addresses.all() {
		if other == address {
			return true
		}
	}
	return false
}
