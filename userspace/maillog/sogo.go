package maillog

import (
	"bytes"

	"weir/policy"
)

// SOGo, its own log or syslog. Formats are those of UI/MainUI/SOGoRootPage.m
// and SOPE's NSObject+Logs.m, SoHTTPAuthenticator.m and WOHttpTransaction.m,
// SOGo 2.3 to 5.12:
//
//	SOGoRootPage Login from 'HOST' for user 'USER' might not have worked - password policy: N  grace: N  expire: N  bound: N
//	SOGoRootPage successful login from 'HOST' for user 'USER' - expire = N  grace = N
//	<0x…[SOGoDAVAuthenticator]> tried wrong password for user 'USER'!
//	HOST "METHOD PATH HTTP/1.1" STATUS …
//
// sogohost.go reads HOST. USER is the client's word as it came, in a file line
// feeds included; see nginx.go. The IMAP server is asked later, and from
// SOGo's own address.
//
// The last two lines are of one request of CalDAV, CardDAV or ActiveSync, and
// only the process joins them: it serves one request at a time.

const sogoServer = "sogo"

// sogoRequest is what a process of SOGo's has said of its request.
type sogoRequest struct {
	Unix    int64
	User    string // whose password was wrong
	Trouble bool   // the source of users was in trouble: nobody's offence
}

// sogoTime is how many seconds such words are kept.
const sogoTime = 120

func (p *Parser) sogo(r *record, out []policy.Event) []policy.Event {
	text := r.text
	if rest, ok := skipWord(text, "SOGoRootPage "); ok {
		if rest, ok := skipWord(rest, "Login from '"); ok {
			return p.sogoFailure(r, rest, out)
		}
		if rest, ok := skipWord(rest, "successful login from '"); ok {
			return p.sogoSuccess(r, rest, out)
		}
		return out
	}
	switch text[0] {
	case '[':
		if hasPrefix(text, "[ERROR] <") && index(text[:min(len(text), 80)], "Source]> ") >= 0 && sogoRequestLine(text) == nil {
			p.sogoSays(r, sogoRequest{Trouble: true}) // SQLSource, LDAPSource
			return out
		}
	case '<':
		const wrong = "[SOGoDAVAuthenticator]> tried wrong password for user '"
		if i := index(text[:min(len(text), 100)], wrong); i >= 0 && bytes.HasSuffix(text, []byte("'!")) {
			p.sogoSays(r, sogoRequest{User: p.users.name(text[i+len(wrong) : len(text)-2])})
			return out
		}
	}
	return p.sogoRequestEnd(r, out)
}

func (p *Parser) sogoSays(r *record, said sogoRequest) {
	t, ok := p.when(r)
	if !ok {
		return
	}
	said.Unix = t.Unix()
	if before := p.sogoSaid(r); before != nil && before.Trouble {
		said.Trouble = true
	}
	p.web.SOGo.put(sessionKey(r), said)
}

// sogoSaid returns what the process has said of its request, or nil.
func (p *Parser) sogoSaid(r *record) *sogoRequest {
	said := p.web.SOGo.get(sessionKey(r))
	if said == nil {
		return nil
	}
	if t, ok := p.when(r); !ok || distance(t.Unix(), said.Unix) > sogoTime {
		return nil
	}
	return said
}

// sogoFailure reads "HOST' for user 'USER' might not have worked - …". Without
// a word from a password policy the password was wrong, whatever stands behind
// "bound: "; 5.8 writes there what it finds in memory.
func (p *Parser) sogoFailure(r *record, text []byte, out []policy.Event) []policy.Event {
	const refused = "' might not have worked - password policy: 65535  grace: -1  expire: -1  bound: "
	i := bytes.LastIndex(text, []byte(refused))
	if i < 0 || len(skipInt(text[i+len(refused):])) > 0 {
		return out
	}
	if said := p.sogoSaid(r); said != nil && said.Trouble {
		return out
	}
	addr, user, ok := readSOGoLogin(text[:i], "' for user '")
	if !ok {
		p.puzzled(r)
		return out
	}
	if len(user) == 0 {
		return out // nothing was entered
	}
	p.found(sogoLoginFailure)
	return p.emit(r, policy.Event{
		Kind: policy.AuthFailure, Source: addr, User: p.users.name(user), Service: web, Server: sogoServer,
	}, out)
}

// sogoSuccess reads "HOST' for user 'USER' - expire = N  grace = N".
func (p *Parser) sogoSuccess(r *record, text []byte, out []policy.Event) []policy.Event {
	const expire = "' - expire = "
	i := bytes.LastIndex(text, []byte(expire))
	if i < 0 {
		return out
	}
	rest, ok := skipWord(skipInt(text[i+len(expire):]), "  grace = ")
	if !ok || len(skipInt(rest)) > 0 {
		return out // a request, with a header of the client's choice
	}
	addr, user, ok := readSOGoLogin(text[:i], "' for user '")
	if !ok {
		p.puzzled(r)
		return out
	}
	p.found(sogoLogin)
	return p.emit(r, policy.Event{
		Kind: policy.AuthSuccess, Source: addr, User: p.users.name(user), Service: web, Server: sogoServer,
	}, out)
}

// sogoRequestEnd reads "HOST "METHOD PATH HTTP/1.1" STATUS …", which ends a
// request.
func (p *Parser) sogoRequestEnd(r *record, out []policy.Event) []policy.Event {
	key := sessionKey(r)
	if p.web.SOGo.get(key) == nil {
		return out
	}
	status := sogoRequestLine(r.text)
	if status == nil {
		return out
	}
	said := p.sogoSaid(r)
	if said == nil || said.Trouble || said.User == "" || string(status) != "401" {
		p.web.SOGo.remove(key)
		return out
	}
	user := said.User
	p.web.SOGo.remove(key)
	addr, _, ok := readSOGoLogin(r.text, " \"")
	if !ok {
		p.puzzled(r)
		return out
	}
	p.found(sogoDAVFailure)
	return p.emit(r, policy.Event{
		Kind: policy.AuthFailure, Source: addr, User: user, Service: web, Server: sogoServer,
	}, out)
}

// sogoRequestLine returns the status in a line that ends a request, nil in any
// other. Everything behind the last " HTTP/1." is SOGo's.
func sogoRequestLine(b []byte) (status []byte) {
	i := bytes.LastIndex(b, []byte(" HTTP/1."))
	if i < 0 {
		return nil
	}
	const n = len(" HTTP/1.1")
	rest, ok := skipWord(b[min(i+n, len(b)):], "\" ")
	if _, length := leadingUint(rest); !ok || length != 3 {
		return nil
	}
	return rest[:3]
}

// skipInt returns b behind the decimal number that it begins with.
func skipInt(b []byte) []byte {
	b, _ = skipWord(b, "-")
	_, n := leadingUint(b)
	return b[n:]
}
