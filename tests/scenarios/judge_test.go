package scenarios

import (
	"net/netip"
	"testing"
	"time"

	"weir/policy"
)

var dawn = time.Date(2026, 11, 16, 6, 0, 0, 0, time.UTC)

// court judges items that come second by second.
type court struct {
	*Judge
	session uint32
}

func (c *court) decide(second int, target string, action policy.Action, seconds int, rate policy.Rate) {
	d := policy.Decision{Action: action, Rate: rate, Since: dawn.Add(time.Duration(second) * time.Second)}
	d.Until = d.Since.Add(time.Duration(seconds) * time.Second)
	if p, err := policy.ParsePrefix(target); err == nil {
		d.Prefix = p
	} else {
		d.User = target
	}
	c.Decide(d)
}

// session opens a session and judges one item of it.
func (c *court) item(second int, kind Kind, source, user string) bool {
	c.session++
	i := Item{Time: dawn.Add(time.Duration(second) * time.Second), Kind: Opening, Session: c.session, Source: netip.MustParseAddr(source)}
	c.Refuses(&i)
	i.Kind, i.User = kind, user
	return c.Refuses(&i) != nil
}

func TestJudge(t *testing.T) {
	c := &court{Judge: NewJudge()}
	check := func(what string, got, want bool) {
		t.Helper()
		if got != want {
			t.Errorf("%s: refused is %t", what, got)
		}
	}
	check("before any decision", c.item(0, Login, "192.0.2.1", "bob"), false)
	c.decide(10, "203.0.113.5", policy.Drop, 100, policy.Rate{})
	check("at the moment of a decision", c.item(10, Try, "203.0.113.5", "bob"), false)
	check("after it", c.item(11, Try, "203.0.113.5", "bob"), true)
	check("another source", c.item(12, Try, "203.0.113.6", "bob"), false)
	check("when it has ended", c.item(110, Try, "203.0.113.5", "bob"), false)

	c.decide(200, "2001:db8:1::/48", policy.Tarpit, 100, policy.Rate{})
	check("within a prefix", c.item(201, Connection, "2001:db8:1:2::3", ""), true)
	check("beside a prefix", c.item(201, Connection, "2001:db8:2:2::3", ""), false)

	c.decide(300, "203.0.113.7", policy.Limit, 100, policy.Rate{Every: 10 * time.Second, Burst: 2})
	for i, want := range []bool{false, false, true, true, false} { // at 301, 302, 303, 304, 311
		check("under a limit", c.item([]int{301, 302, 303, 304, 311}[i], Try, "203.0.113.7", "bob"), want)
	}

	c.decide(400, "Bob", policy.Guard, 100, policy.Rate{})
	check("a guarded user's own source", c.item(401, Login, "192.0.2.1", "bob"), false)
	check("its neighbour", c.item(402, Login, "192.0.2.200", "bob"), false)
	check("a stranger", c.item(403, Login, "192.0.3.1", "bob"), true)
	check("the stranger again: it has not succeeded", c.item(404, Try, "192.0.3.1", "bob"), true)
	check("the stranger at another user", c.item(405, Login, "192.0.3.1", "eve"), false)
	check("the stranger when the guard has ended", c.item(500, Login, "192.0.3.1", "bob"), false)

	c.decide(600, "bob", policy.Defer, 100, policy.Rate{})
	check("a deferred user", c.item(601, Message, "192.0.2.1", "bob"), true)
	c.decide(602, "bob", policy.Release, 0, policy.Rate{})
	check("a released user", c.item(603, Message, "192.0.2.1", "bob"), false)
	c.decide(700, "bob", policy.Limit, 100, policy.Rate{Every: time.Minute, Burst: 1})
	check("a limited user's first message", c.item(701, Message, "192.0.2.1", "bob"), false)
	check("its second", c.item(702, Message, "192.0.2.1", "bob"), true)
	check("its mailbox", c.item(703, Login, "192.0.2.1", "bob"), false)
}

// A session that is refused as it opens stays so, and one that is under way
// when its source is dropped ends.
func TestSessionsShareAFate(t *testing.T) {
	c := &court{Judge: NewJudge()}
	item := func(second int, kind Kind, session uint32) bool {
		return c.Refuses(&Item{Time: dawn.Add(time.Duration(second) * time.Second), Kind: kind, Session: session, Source: netip.MustParseAddr("203.0.113.5")}) != nil
	}
	c.decide(0, "203.0.113.5", policy.Limit, 10, policy.Rate{Every: time.Hour, Burst: 1})
	item(1, Opening, 1)
	item(2, Opening, 2)
	if item(3, Try, 1) || !item(4, Try, 2) || !item(20, Try, 2) {
		t.Error("a limit is not that of openings")
	}
	c.decide(30, "203.0.113.5", policy.Drop, 5, policy.Rate{})
	if item(29, Try, 1) || !item(31, Try, 1) || !item(40, Try, 1) {
		t.Error("a drop does not end the session")
	}
}
