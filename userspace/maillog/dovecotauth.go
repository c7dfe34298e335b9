package maillog

import (
	"bytes"
	"net/netip"

	"weir/policy"
)

// What Dovecot's auth processes write of a refused password if auth_verbose
// or auth_verbose_passwords is on. Formats are those of src/auth
// (auth-request.c, auth-worker-server.c, passdb-*.c):
//
//	auth: DB(USER,ADDRESS[,master][,<SESSION>]): TEXT                           (2.2, 2.3)
//	auth-worker(PID): DB(USER,ADDRESS…): TEXT                                   (2.2, 2.3)
//	auth-worker(PID): conn unix:auth-worker (pid=N,uid=N): auth-worker<N>: DB(…): TEXT  (2.3.11 on)
//	auth(USER,ADDRESS,sasl:METHOD[,master])<SESSION>: DB: TEXT                   (2.4)
//	auth-worker(USER,ADDRESS,sasl:METHOD)<PID><SESSION>: request [N]: DB: TEXT   (2.4)
//
// "Info: " stands before TEXT in a log of Dovecot's own. DB is a database or
// a SASL mechanism. These lines do not name the service.
//
// "Error: " stands there instead where the database is in trouble. Then the
// login process says so, but Postfix is told of a refusal like any other.

const maxAuthUser = 64 + len("...") // bytes; MAX_LOG_USERNAME_LEN

// dovecotAuth reads such a line. USER is the client's word and may contain
// what looks like the address behind it; TEXT is Dovecot's own, unless it
// quotes the password. So the last address counts that a user name can stand
// before, if TEXT is exactly one that Dovecot writes; a line with different
// addresses and anything in brackets behind is not believed. (The login
// process tells of the same attempt.)
func (p *Parser) dovecotAuth(r *record, text []byte, out []policy.Event) []policy.Event {
	database, user, broken := authUser(text)
	if user == nil {
		return out
	}
	var identity authIdentity
	two := false
	for from := 0; from <= maxAuthUser; from++ {
		i := bytes.IndexByte(user[from:], ',')
		if i < 0 || from+i > maxAuthUser {
			break
		}
		from += i
		if next, ok := authAddress(user[from:]); ok {
			two = two || identity.addr.IsValid() && identity.addr != next.addr
			next.user = user[:from]
			identity = next
		}
	}
	if !identity.addr.IsValid() {
		return out
	}
	said := identity.text
	if database == nil { // 2.4 names it behind
		if i := index(said, ": "); i >= 0 {
			database, said = said[:i], said[i+2:]
		}
	}
	if rest, ok := skipWord(said, "Error: "); ok {
		said, broken = rest, true
	}
	failed, bare := judgeAuth(said)
	if !failed && !broken {
		return out
	}
	if two && !bare {
		p.puzzled(r)
		return out
	}
	t, ok := p.when(r)
	if !ok {
		return out
	}
	r.session = identity.session
	if string(identity.user) == "?" {
		identity.user = nil
	}
	e := policy.Event{
		Kind: policy.AuthFailure, Source: identity.addr, User: p.users.name(identity.user), Server: dovecotServer,
	}
	if broken {
		p.told.excuse(callerOf(r, e.Source), e.User, t)
		return out
	}
	p.found(dovecotAuthFailure)
	host := hostKey(r)
	news, chained := p.told.backend(callerOf(r, e.Source), refusal{
		user: e.User, place: uint64(newHash.bytes(database)),
		unknown: hasPrefix(said, "unknown user"), heard: p.several.get(host) != nil,
	}, t)
	if chained {
		p.several.put(host, true)
	}
	if !news {
		return out
	}
	return p.emit(r, e, out)
}

// authUser returns the database, nil if it stands behind the user, and what
// stands behind the bracket that the user follows; broken says that the line is
// an error.
func authUser(text []byte) (database, user []byte, broken bool) {
	rest, ok := skipWord(text, "auth: ")
	if !ok {
		if rest, ok = skipWord(text, "auth("); ok {
			return nil, rest, false
		}
		if rest, ok = skipWord(text, "auth-worker("); !ok {
			return nil, nil, false
		}
		_, length := leadingUint(rest)
		behind, isPID := skipWord(rest[length:], "): ")
		if !isPID || length == 0 {
			return nil, rest, false
		}
		rest = behind
	}
	if rest, broken = skipWord(rest, "Error: "); !broken {
		rest, _ = skipWord(rest, "Info: ")
	}
	if conn, ok := skipWord(rest, "conn unix:auth-worker (pid="); ok {
		const worker = "): auth-worker<"
		i := index(conn, worker)
		if i < 0 {
			return nil, nil, false
		}
		conn = conn[i+len(worker):]
		_, length := leadingUint(conn)
		if rest, ok = skipWord(conn[length:], ">: "); !ok {
			return nil, nil, false
		}
	}
	n := 0
	for n < len(rest) && (isAlnum(rest[n]) || rest[n] == '-' || rest[n] == '_') {
		n++
	}
	if n == 0 || n == len(rest) || rest[n] != '(' {
		return nil, nil, false
	}
	return rest[:n], rest[n+1:], broken
}

// authIdentity is whom an auth line is about, and what it says.
type authIdentity struct {
	user, text []byte
	addr       netip.Addr
	session    []byte // nil where the line names none, as for Postfix
}

// authAddress reads ",ADDRESS[,sasl:METHOD][,master][,<SESSION>])[<ID>…]: "
// and what may stand before the database.
func authAddress(b []byte) (id authIdentity, ok bool) {
	addr, n := leadingAddr(b[1:])
	if n == 0 {
		return id, false
	}
	b = b[1+n:]
	if rest, ok := skipWord(b, ",sasl:"); ok {
		n = 0
		for n < len(rest) && (isAlnum(rest[n]) || rest[n] == '-' || rest[n] == '_') {
			n++
		}
		b = rest[n:]
	}
	b, _ = skipWord(b, ",master")
	if rest, ok := skipWord(b, ",<"); ok {
		if b, ok = skipID(rest); !ok {
			return id, false
		}
		id.session = rest[:len(rest)-len(b)-1]
	}
	if b, ok = skipWord(b, ")"); !ok {
		return id, false
	}
	for {
		rest, ok := skipWord(b, "<")
		if !ok {
			break
		}
		if b, ok = skipID(rest); !ok {
			return id, false
		}
		if name := rest[:len(rest)-len(b)-1]; !isNumber(name) { // a worker's process ID
			id.session = name
		}
	}
	if b, ok = skipWord(b, ": "); !ok {
		return id, false
	}
	b, _ = skipWord(b, "Info: ")
	if rest, ok := skipWord(b, "request ["); ok {
		_, n = leadingUint(rest)
		if rest, ok = skipWord(rest[n:], "]: "); ok {
			b = rest
		}
	}
	b, _ = skipWord(b, "Info: ")
	id.text, id.addr = b, addr
	return id, true
}

func isNumber(b []byte) bool {
	_, ok := digits(b)
	return ok
}

// skipID skips a session or process ID and its bracket.
func skipID(b []byte) ([]byte, bool) {
	for i, c := range b {
		if c == '>' {
			return b[i+1:], true
		}
		if c <= ' ' || c == '<' || c == '(' || c == ')' || c == ',' {
			break
		}
	}
	return b, false
}

// judgeAuth reports whether text says that the credentials were refused, and
// whether it says nothing else. Other texts are a database's troubles, or
// passwords that another database is yet asked about.
func judgeAuth(text []byte) (failed, bare bool) {
	if reason, ok := skipWord(text, "pam_authenticate() failed: "); ok {
		// What pam_strerror says of PAM_AUTH_ERR, PAM_USER_UNKNOWN,
		// PAM_MAXTRIES and PAM_PERM_DENIED (Linux-PAM).
		for _, refused := range [...]string{
			"Authentication failure", "User not known to the underlying authentication module",
			"Have exhausted maximum number of retries for service", "Permission denied",
		} {
			if hasPrefix(reason, refused) {
				return true, false
			}
		}
		return false, false
	}
	for _, message := range [...]string{"unknown user", "Password mismatch", "password mismatch", "invalid credentials"} {
		rest, ok := skipWord(text, message)
		if !ok {
			continue
		}
		rest, _ = skipWord(rest, " (for LDAP bind)")
		if len(rest) == 0 {
			return true, true
		}
		quoted := hasPrefix(rest, " (given password: ") || hasPrefix(rest, " (SHA1 of given password: ")
		return quoted && !bytes.HasSuffix(rest, []byte(" - trying the next passdb")), false
	}
	return false, false
}
