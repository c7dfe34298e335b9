package maillog

import (
	"bytes"

	"weir/policy"
)

// What Dovecot's login processes write as proxies (src/login-common,
// client-common-auth.c and login-proxy.c; auth_verbose for failures):
//
//	proxy(USER): started proxying to HOST:PORT[/USER][ (master USER)]: ELEMENTS     (2.2)
//	proxy(USER,HOST:PORT): Started proxying to HOST (0.012 secs): ELEMENTS         (2.3, 2.4)
//	proxy(USER): Login failed to HOST:PORT: ANSWER: ELEMENTS                        (2.2)
//	proxy(USER,HOST:PORT): Login failed: ANSWER: ELEMENTS                          (2.3, 2.4)
//
// and errors, and how a proxied session ended. USER is the client's word and
// stands there whole; ANSWER is the other server's.

// dovecotProxy reads such a line. Two places name the user; only where they
// agree is it certain where Dovecot's words begin. A name that is cut or
// changed in ELEMENTS gives no event: the session's end tells of its failures.
func (p *Parser) dovecotProxy(r *record, service string, text []byte, out []policy.Event) []policy.Event {
	end := lastElementsStart(text)
	if end < 0 {
		return out
	}
	elements := text[end+2:]
	client, ok := p.loginElements(elements)
	if !ok {
		p.puzzled(r)
		return out
	}
	said, _ := skipWord(text[:end], "proxy(")
	if len(client.user) >= maxLoginUser || !bytes.HasPrefix(said, client.user) {
		return out
	}
	said = said[len(client.user):]
	if i := index(said, "): "); i == 0 || i > 0 && said[0] == ',' {
		said = said[i+len("): "):]
	} else {
		return out
	}
	o := outcome{kind: policy.AuthFailure, pattern: dovecotProxyFailure, attempts: 1, reach: loginTime, proxy: true}
	answer, failed := skipWord(said, "Login failed")
	switch {
	case hasPrefix(said, "Started proxying to ") || hasPrefix(said, "started proxying to "):
		o.kind, o.pattern = policy.AuthSuccess, dovecotProxyLogin
	case failed:
		i := index(answer, ": ")
		if i < 0 {
			return out
		}
		if isTemporary(answer[i+2:]) {
			p.relayed.excuse(client.session)
			return out
		}
	case hasPrefix(said, "Login aborted: ") || hasPrefix(said, "Disconnected: "):
		o = judgeSession(said)
	default:
		return out
	}
	return p.dovecotOutcome(r, service, o, elements, out)
}

// isTemporary reports whether an answer says that the login was not judged
// (RFC 5530 section 3, RFC 2449 section 8.1.1, RFC 3463 class 4).
func isTemporary(answer []byte) bool {
	return hasAnyPrefix(answer, "[UNAVAILABLE]", "[SYS/TEMP]", "[SERVERBUG]", "[LIMIT]", "[INUSE]", "[IN-USE]", "4", "Temporary ")
}

// relays are the newest sessions of login processes, each at the place that
// its ID's hash gives it. A proxy hands its session's ID on to the server
// behind it, which writes it too: where one log has both, what they tell of a
// session is told once.
type relays struct {
	Saved []relay // while state is written or read; see state.go
	slots []relay
}

type relay struct {
	ID       uint64 // hash; 0: none
	Failures sides
	Logins   sides
	Excused  bool // the proxy's newest attempt was not judged
}

// sides are how often a proxy and a server behind it have told of something,
// and how often it has become an event.
type sides struct{ Proxy, Behind, Told uint32 }

const maxRelays = 1 << 10

// of returns the session with that ID, an empty one if it is new.
func (s *relays) of(id []byte) *relay {
	if s.slots == nil {
		s.slots = make([]relay, maxRelays)
	}
	key := uint64(newHash.bytes(id))
	e := &s.slots[key%maxRelays]
	if e.ID != key {
		*e = relay{ID: key}
	}
	return e
}

// news returns how many of o's failures, or whether its login, are news.
func (s *relays) news(id []byte, o outcome) int {
	if id == nil {
		return o.attempts
	}
	e := s.of(id)
	if o.kind == policy.AuthSuccess {
		return e.Logins.tell(o)
	}
	if o.proxy && o.whole && e.Excused {
		return 0
	}
	e.Excused = false
	return e.Failures.tell(o)
}

// tell adds what o tells, and returns how much of it is news.
func (s *sides) tell(o outcome) int {
	n := uint32(o.attempts)
	switch {
	case !o.proxy:
		s.Behind += n
		n = s.Behind
	case o.whole:
		s.Proxy = max(s.Proxy, n)
		n = s.Proxy
	default:
		s.Proxy += n
		n = s.Proxy
	}
	if n <= s.Told {
		return 0
	}
	news := n - s.Told
	s.Told = n
	return int(news)
}

// excuse notes that the server behind could not judge an attempt.
func (s *relays) excuse(id []byte) {
	if id != nil {
		s.of(id).Excused = true
	}
}

func (s *relays) save() {
	for _, e := range s.slots {
		if e.ID != 0 {
			s.Saved = append(s.Saved, e)
		}
	}
}

func (s *relays) forget() { s.Saved = nil }

func (s *relays) restore() bool {
	if len(s.Saved) > 0 {
		s.slots = make([]relay, maxRelays)
	}
	for _, e := range s.Saved {
		at := &s.slots[e.ID%maxRelays]
		if e.ID == 0 || at.ID != 0 {
			return false
		}
		*at = e
	}
	return true
}
