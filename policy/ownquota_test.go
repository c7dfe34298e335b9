package policy

import "testing"

// What the operator sets for one user comes before the configuration, exempt or
// not, leaves to it what it does not name, and keeps what is spent.
func TestOwnQuota(t *testing.T) {
	q := NewQuotas(Limits{Users: 16})
	rules := QuotaRules{Each: Quota{Recipients: mustSpans(t, "10/1h"), Messages: mustSpans(t, "3/1h")}, Users: map[string]QuotaOverride{"free": {Exempt: true}}}
	q.SetRules(rules)
	send := func(user string, n int) bool {
		m := &Mail{User: user, Recipients: n}
		if q.Ask(quotaEpoch, m).Over {
			return false
		}
		q.Count(quotaEpoch, m)
		return true
	}
	if !send("alice", 8) || send("alice", 8) || !send("free", 999) {
		t.Fatal("the configuration does not hold")
	}
	for _, user := range []string{"alice", "free"} {
		q.SetOwn(user, &Quota{Recipients: mustSpans(t, "20/1h")})
	}
	q.SetRules(rules) // a reload
	if send("free", 21) || !send("free", 20) {
		t.Error("what is set does not hold for an exempt user")
	}
	if !send("alice", 8) || send("alice", 8) {
		t.Error("20 with 16 spent")
	}
	if !send("alice", 1) || send("alice", 1) {
		t.Error("the configuration's three messages hold no more")
	}
	q.SetOwn("alice", &Quota{Recipients: []QuotaSpan{}, Messages: []QuotaSpan{}})
	if !send("alice", 100_000) {
		t.Error("any number is set")
	}
	q.SetOwn("alice", nil)
	q.SetOwn("free", nil)
	if q.Own("alice") != nil || send("alice", 11) || !send("free", 1000) {
		t.Error("the configuration holds no more")
	}
}

// A pin that sets quotas shelters nobody from a rule, and one that says more
// does.
func TestPrevailing(t *testing.T) {
	quota, allow, guard := &Decision{Action: OwnQuota, Pinned: true}, &Decision{Action: Allow, Pinned: true}, &Decision{Action: Guard}
	for _, c := range []struct{ pin, automatic, want *Decision }{
		{nil, nil, nil}, {nil, guard, guard}, {quota, nil, quota}, {quota, guard, guard}, {allow, guard, allow}, {allow, nil, allow},
	} {
		if got := Prevailing(c.pin, c.automatic); got != c.want {
			t.Errorf("%+v beside %+v: %+v", c.pin, c.automatic, got)
		}
	}
}
