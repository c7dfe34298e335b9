package maillog

import (
	"bytes"
	"net/netip"

	"weir/policy"
)

// What Dovecot's auth processes write of a refused password if auth_verbose
// or auth_verbose_passwords is on. Formats are those of src/auth
// (auth-request.c, auth-worker-server.c, passdb-*.c, mech-*.c):
//
//	auth: DB(USER,ADDRESS[,master][,<SESSION>]): TEXT                           (2.2, 2.3)
//	auth-worker(PID): DB(USER,ADDRESS…): TEXT                                   (2.2, 2.3)
//	auth-worker(PID): conn unix:auth-worker (pid=N,uid=N): auth-worker<N>: DB(…): TEXT  (2.3.11 on)
//	auth(USER,ADDRESS,sasl:METHOD[,master])<SESSION>: DB: TEXT                   (2.4)
//	auth-worker(USER,ADDRESS[,sasl:METHOD])<PID><SESSION>: request [N]: DB: TEXT (2.4)
//
// "Info: " stands before TEXT or DB in a log of Dovecot's own. DB is a
// database or a SASL mechanism; from 2.4 on the administrator names databases,
// and texts of the request have none. None of these lines names the service,
// and login processes name a session only when it has ended, so the events
// have no service.
//
// "Error: " stands there instead where the database is in trouble. Then the
// login process says so, but Postfix is told of a refusal like any other.

const maxAuthUser = 64 + len("...") // bytes; MAX_LOG_USERNAME_LEN

// dovecotAuth reads such a line. USER is the client's word and may contain
// what looks like the address behind it; TEXT is Dovecot's own, but it may
// quote the password, and other texts end in what the client says. So the last
// address counts that a user name can stand before, and where there are two
// different ones, only if what it says is whole and the first one's database is
// none that quotes. Else the line is not believed. (The login process tells of
// the same attempt.)
func (p *Parser) dovecotAuth(r *record, text []byte, out []policy.Event) []policy.Event {
	database, user, broken := authUser(text)
	if user == nil {
		return out
	}
	var identity, first authIdentity
	two := false
	for from := 0; from <= maxAuthUser; from++ {
		i := bytes.IndexByte(user[from:], ',')
		if i < 0 || from+i > maxAuthUser {
			break
		}
		from += i
		if next, ok := authAddress(user[from:]); ok {
			if !first.addr.IsValid() {
				first = next
			}
			next.user = user[:from]
			two = two || next.addr != first.addr
			identity = next
		}
	}
	if !identity.addr.IsValid() {
		return out
	}
	said := identity.text
	if rest, ok := skipWord(said, "Error: "); ok {
		said, broken = rest, true
	}
	quotes := !isPlainDatabase(database)
	if database == nil { // 2.4 names it behind
		database, _ = cutDatabase(first.text)
		quotes = !isPlainDatabase(database)
		database, said = cutDatabase(said)
	}
	v := judgeAuth(said)
	if string(said) == "oauth2 failed: Introspection failed: invalid_token" {
		broken = false // 2.4 takes the server's word for it (RFC 6750 section 3.1) for trouble
	}
	if !v.refused && !v.excused && !broken {
		return out
	}
	if two && (quotes || !v.bare) {
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
	if broken || v.excused {
		p.told.excuse(callerOf(r, e.Source), e.User, t)
		return out
	}
	p.found(dovecotAuthFailure)
	host := hostKey(r)
	news, chained := p.told.backend(callerOf(r, e.Source), refusal{
		user: e.User, place: uint64(newHash.bytes(database)), unknown: v.unknown,
		heard: !v.last && p.several.get(host) != nil, last: v.last,
	}, t)
	if chained {
		p.several.put(host, true)
	}
	if !news {
		return out
	}
	return p.emit(r, e, out)
}

// cutDatabase takes the database off a text of 2.4, if it begins with one.
func cutDatabase(text []byte) (database, said []byte) {
	if i := index(text, ": "); i >= 0 {
		return text[:i], text[i+2:]
	}
	return nil, text
}

// isPlainDatabase reports whether a database or mechanism of that name quotes
// nothing of the client's but the password.
func isPlainDatabase(name []byte) bool {
	switch string(name) {
	case "passwd-file", "passwd", "shadow", "sql", "pam", "ldap", "static", "bsdauth",
		"plain", "login", "cram-md5", "digest-md5", "apop", "scram-sha-1", "scram-sha-256":
		return true
	}
	return false
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

// authVerdict is what an auth process says of an attempt.
type authVerdict struct {
	refused bool // the credentials
	unknown bool // the database does not know the user
	excused bool // they were not judged
	bare    bool // nothing stands behind the words
	last    bool // no other database is asked
}

// judgeAuth reads what a database or mechanism says. Texts that are not known
// are its troubles, or of no consequence.
//
// auth_verbose_passwords adds the password, which shows whether the next
// database is asked.
func judgeAuth(text []byte) (v authVerdict) {
	if len(text) == 0 {
		return v
	}
	words := ""
	switch text[0] {
	case 'u':
		words = "unknown user"
		v.unknown = true
	case 'P':
		words = "Password mismatch"
	case 'p':
		if reason, ok := skipWord(text, "pam_authenticate() failed: "); ok {
			v.refused = isRefusedByPAM(reason)
			return v
		}
		words = "password mismatch"
	case 'i':
		words = "invalid credentials"
	case 'o': // passdb-oauth2.c, mech-oauth2.c; its server's troubles are errors
		v.refused = hasPrefix(text, "oauth2 failed: ")
		return v
	case 'n':
		words = "nopassword given and password is not empty" // Lua
	case 'L': // LDAP; checkpassword (db-checkpassword.c)
		v.refused = string(text) == "Login attempt with empty password" || string(text) == "Login failed (status=1)"
		v.bare = v.refused
		return v
	case 'U':
		words = "User unknown" // checkpassword
		v.unknown = true
	case '[': // the IMAP server that passdb-imap.c asks
		v.refused = hasPrefix(text, "[AUTHENTICATIONFAILED]")
		return v
	case 'A': // A policy server, such as weir, knows the user by its volume and the source by its past.
		v.excused = hasPrefix(text, "Authentication failure due to policy server refusal")
		return v
	}
	rest, ok := skipWord(text, words)
	if !ok || words == "" {
		return authVerdict{}
	}
	rest, _ = skipWord(rest, " (for LDAP bind)")
	if len(rest) == 0 {
		v.refused, v.bare = true, true
		return v
	}
	if hasPrefix(rest, " (given password: ") || hasPrefix(rest, " (SHA1 of given password: ") {
		v.refused = rest[len(rest)-1] == ')' // else "- trying the next passdb"
		v.last = v.refused
	}
	return v
}

// isRefusedByPAM knows what pam_strerror says of PAM_AUTH_ERR, PAM_USER_UNKNOWN,
// PAM_MAXTRIES and PAM_PERM_DENIED (Linux-PAM).
func isRefusedByPAM(reason []byte) bool {
	for _, refused := range [...]string{
		"Authentication failure", "User not known to the underlying authentication module",
		"Have exhausted maximum number of retries for service", "Permission denied",
	} {
		if hasPrefix(reason, refused) {
			return true
		}
	}
	return false
}
