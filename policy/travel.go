package policy

import (
	"net/netip"
	"time"
)

// travelTime is less than it takes to go from one country to another and to log
// in there.
const travelTime = time.Hour

// travelled reports whether a user succeeds in another country than a moment
// ago. That proves nothing: half of those who use a private network's exits do
// so. It makes a password doubtful.
func (e *Engine) travelled(u *userState, h *happening) bool {
	if e.locator == nil {
		return false
	}
	country, known := e.locator.Country(netip.AddrFrom16(h.addr).Unmap())
	if !known {
		return false
	}
	since := h.at - u.there
	far := u.country != 0 && country != u.country && max(since, -since) < int64(travelTime)
	u.country, u.there = country, max(h.at, u.there)
	return far
}
