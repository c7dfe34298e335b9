package postfixpolicy

import "net/netip"

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
