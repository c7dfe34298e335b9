package maillog

import "weir/policy"

// Up to 1.6 two files tell of a failure if log_logins is on: first errors,
// and userlogins a second later. Either may tell of some alone: errors if
// log_logins is off, userlogins of an empty password.

// roundcubeTold counts what one of them has told of a client's attempts, and
// the other has not yet.
type roundcubeTold struct {
	Unix   int64 // of the newest
	Left   int32
	Logins bool // told by userlogins
}

// roundcubeReach is how many seconds may lie between the two.
const roundcubeReach = 60

// roundcubeTell emits the failure of c, unless the other file has told of it.
func (p *Parser) roundcubeTell(r *record, c roundcubeClient, logins bool, out []policy.Event) []policy.Event {
	p.found(roundcubeLoginFailure)
	t, ok := p.when(r)
	if !ok || len(c.user) == 0 {
		return out // nothing was entered
	}
	addr := c.addr.As16()
	key := uint64(newHash.bytes(r.host).bytes(addr[:]))
	told := roundcubeTold{Unix: t.Unix(), Logins: logins}
	if before := p.web.Roundcube.get(key); before != nil && distance(before.Unix, told.Unix) <= roundcubeReach {
		if before.Logins != logins && before.Left > 0 {
			before.Left--
			return out
		}
		if before.Logins == logins {
			told.Left = before.Left
		}
	}
	told.Left++
	p.web.Roundcube.put(key, told)
	return p.emit(r, policy.Event{
		Kind: policy.AuthFailure, Source: c.addr, User: p.users.name(c.user), Service: web, Server: roundcubeServer,
	}, out)
}
