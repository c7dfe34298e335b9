package postfixpolicy

import (
	"bytes"
	"net/netip"
)

// Session is what is remembered of a connection: one smtpd process, which
// serves one SMTP client after the other.
type Session struct {
	client netip.Addr
	port   [8]byte
	user   string

	counted uint64 // the message that was counted last, hashed; 0: none
	harvest harvest
}

// loggedIn notes who is logged in, and reports whether that is news.
func (s *Session) loggedIn(r *Request, user string) bool {
	var port [8]byte
	copy(port[:], r.Port)
	if user == s.user && r.Client == s.client && port == s.port {
		return false
	}
	s.user, s.client, s.port = user, r.Client, port
	return user != ""
}

// harvest counts the recipients that Postfix refused after they were asked
// about here. Postfix never tells; it shows only in what it asks next about
// the same message: a message gets its queue ID with the first recipient that
// is accepted, and DATA comes with the number of those that were. The last
// recipient of a message without DATA may have been refused, or the client
// may have changed its mind: that one is not counted.
type harvest struct {
	instance []byte
	asked    int // recipients
	refused  int // of them, as told so far
}

// see takes a request, and returns how many refusals it shows that were not
// known.
func (h *harvest) see(r *Request) (more int) {
	if !bytes.Equal(h.instance, r.Instance) {
		h.instance = append(h.instance[:0], r.Instance...)
		h.asked, h.refused = 0, 0
	}
	refused := h.refused
	switch r.State {
	case StateRcpt:
		if len(r.QueueID) == 0 {
			refused = h.asked
		}
		h.asked++
	case StateData, StateEndOfMessage:
		if r.Recipients > 0 && h.asked > r.Recipients {
			refused = h.asked - r.Recipients
		}
	}
	more = max(refused-h.refused, 0)
	h.refused = max(h.refused, refused)
	return more
}
