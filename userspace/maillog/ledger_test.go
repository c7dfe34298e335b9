package maillog

import (
	"fmt"
	"strings"
	"testing"

	"weir/policy"
)

// Lines that tell of one attempt, and how often it may count. "@N " stands
// for a stamp N seconds after midnight.
func TestAttemptsCountOnce(t *testing.T) {
	const (
		backend    = "mx dovecot: auth: sql(%s,203.0.113.5): Password mismatch"
		pam        = "mx dovecot: auth-worker(7): pam(%s,203.0.113.5): unknown user"
		sql        = "mx dovecot: auth: sql(%s,203.0.113.5): unknown user"
		trouble    = "mx dovecot: auth: Error: sql(%s,203.0.113.5): Password query failed: Connection refused"
		last       = "mx dovecot: auth: sql(%s,203.0.113.5): Password mismatch (SHA1 of given password: a4b48a)"
		refused    = "mx dovecot: auth: policy(%s,203.0.113.5): Authentication failure due to policy server refusal"
		postfix    = "mx postfix/smtpd[1]: warning: unknown[203.0.113.5]: SASL LOGIN authentication failed: (reason unavailable), sasl_username=%s"
		elsewhere  = "mx2 postfix/smtpd[1]: warning: unknown[203.0.113.5]: SASL LOGIN authentication failed: (reason unavailable), sasl_username=%s"
		session1   = "mx dovecot: auth: sql(%s,203.0.113.5,<A>): unknown user"
		session2   = "mx dovecot: auth-worker(%s,203.0.113.5,sasl:plain)<99><B>: request [7]: sql: unknown user"
		imap2      = "mx dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<%s>, method=PLAIN, rip=203.0.113.5, lip=10.0.0.1, TLS, session=<B>"
		imapTwice  = "mx dovecot: imap-login: Disconnected (auth failed, 2 attempts in 5 secs): user=<%s>, method=PLAIN, rip=203.0.113.5, lip=10.0.0.1, TLS, session=<A>"
		login2     = "mx dovecot: imap-login: Login: user=<%s>, method=PLAIN, rip=203.0.113.5, lip=10.0.0.1, mpid=7, TLS, session=<C>"
		neighbour5 = "mx dovecot: auth: sql(%s,2001:db8::5): unknown user"
		neighbour6 = "mx dovecot: auth: sql(%s,2001:db8::6): unknown user"
		imap6      = "mx dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<%s>, method=PLAIN, rip=2001:db8::6, lip=2001:db8::1, TLS, session=<A>"
		hostless   = "auth: Info: sql(%s,203.0.113.5): Password mismatch"
		nameless   = "mx postfix/smtpd[1]: warning: unknown[203.0.113.5]: SASL LOGIN authentication failed: UGFzc3dvcmQ6"
		imap       = "mx dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<%s>, method=PLAIN, rip=203.0.113.5, lip=10.0.0.1, TLS, session=<A>"
		imap3      = "mx dovecot: imap-login: Disconnected (auth failed, 3 attempts in 12 secs): user=<%s>, method=PLAIN, rip=203.0.113.5, lip=10.0.0.1, TLS, session=<A>"
	)
	say := func(second int, format string, user ...any) string {
		return fmt.Sprintf("Nov 22 00:%02d:%02d ", second/60, second%60) + fmt.Sprintf(format, user...)
	}
	tests := []struct {
		name  string
		lines []string
		want  string // numbers of the lines that count
	}{
		{"Postfix through Dovecot", []string{say(1, backend, "bob"), say(3, postfix, "bob")}, "1"},
		{"Postfix that does not name the user", []string{say(1, backend, "bob"), say(3, nameless)}, "1"},
		{"Postfix told first", []string{say(3, postfix, "bob"), say(2, backend, "bob")}, "1"},
		{"Postfix told first of one of two", []string{say(3, postfix, "bob"), say(2, backend, "bob"), say(3, backend, "bob")}, "1 3"},
		{"told first by a nameless Postfix", []string{say(3, nameless), say(2, backend, "bob")}, "1"},
		{"Dovecot's auth and login processes", []string{say(1, backend, "bob"), say(3, imap, "bob")}, "1"},
		{"the name's case and domain differ", []string{say(1, backend, "bob"), say(3, imap, "Bob@Example.org")}, "1"},
		{"another user", []string{say(1, backend, "bob"), say(3, imap, "alice")}, "1 2"},
		{"another domain", []string{say(1, backend, "bob@a.example"), say(3, imap, "bob@b.example")}, "1 2"},
		{"two attempts", []string{say(1, backend, "bob"), say(2, backend, "bob"), say(3, imap, "bob"), say(4, imap, "bob")}, "1 2"},
		{"one told by both, one by the frontend alone", []string{say(1, backend, "bob"), say(3, imap, "bob"), say(4, imap, "bob")}, "1 3"},
		{"two databases", []string{say(1, pam, "bob"), say(1, backend, "bob")}, "1"},
		{"three lines", []string{say(1, pam, "bob"), say(1, backend, "bob"), say(3, postfix, "bob")}, "1"},
		{"two attempts at two databases", []string{
			say(1, pam, "bob"), say(1, backend, "bob"), say(3, postfix, "bob"),
			say(5, pam, "bob"), say(5, backend, "bob"), say(7, postfix, "bob"),
		}, "1 6"}, // line 2 shows that one database does not decide
		{"a database in trouble", []string{say(1, trouble, "bob"), say(3, postfix, "bob")}, ""},
		{"a database in trouble, for another user", []string{say(1, trouble, "bob"), say(3, postfix, "alice")}, "2"},
		{"a database in trouble behind one that knows nobody", []string{
			say(1, pam, "eve"), say(1, backend, "eve"), say(5, pam, "bob"), say(5, trouble, "bob"), say(7, postfix, "bob"),
		}, "1"},
		{"the last of several databases says so", []string{
			say(1, pam, "eve"), say(1, backend, "eve"), say(5, pam, "bob"), say(5, last, "bob"), say(7, postfix, "bob"), say(9, pam, "bob"), say(9, last, "bob"),
		}, "1 4 7"},
		{"a policy server refused", []string{say(1, refused, "bob"), say(3, postfix, "bob")}, ""},
		{"two databases of one kind", []string{say(1, sql, "bob"), say(1, backend, "bob"), say(3, postfix, "bob")}, "1"},
		{"good users of a host that asks several databases", []string{
			say(1, pam, "eve"), say(1, backend, "eve"), say(5, pam, "bob"), say(9, pam, "bob"),
		}, "1"},
		{"a host that asks several databases, several users", []string{
			say(1, pam, "eve"), say(1, backend, "eve"), say(40, pam, "alice"), say(44, pam, "bob"), say(48, pam, "bob"), say(51, imap3, "bob"),
		}, "1 6 6 6"},
		{"three attempts in a session", []string{
			say(1, backend, "bob"), say(4, backend, "bob"), say(8, backend, "bob"), say(11, imap3, "bob"),
		}, "1 2 3"},
		{"three attempts in a session for three users", []string{
			say(1, backend, "alice"), say(4, backend, "bob"), say(8, backend, "carol"), say(11, imap3, "carol"),
		}, "1 2 3"},
		{"three attempts, of which one was told", []string{say(8, backend, "bob"), say(11, imap3, "bob")}, "1 2 2"},
		{"three attempts told first", []string{
			say(11, imap3, "carol"), say(1, backend, "alice"), say(4, backend, "bob"), say(8, backend, "carol"),
		}, "1 1 1"},
		{"an earlier session's attempt is another one", []string{say(1, backend, "bob"), say(120, imap, "bob")}, "1 2"},
		{"a later attempt is another one", []string{say(1, postfix, "bob"), say(20, backend, "bob")}, "1 2"},
		{"another host", []string{say(1, backend, "bob"), say(3, elsewhere, "bob"), say(4, postfix, "bob")}, "1 2"},
		{"neighbours in one network", []string{say(1, neighbour5, "bob"), say(1, neighbour6, "bob"), say(3, imap6, "bob")}, "1 2"},
		{"two sessions at once", []string{say(1, session1, "bob"), say(1, session2, "bob"), say(3, imap, "bob"), say(3, imap2, "bob")}, "1 2"},
		{"attempts in a session, and at Postfix at once", []string{
			say(1, session1, "alice"), say(3, session1, "bob"), say(4, backend, "carol"), say(5, imapTwice, "bob"), say(6, postfix, "carol"),
		}, "1 2 3"},
		{"another device logs in", []string{say(1, session1, "bob"), say(1, login2, "bob"), say(3, imap, "bob"), say(9, session2, "bob")}, "1 4"},
		{"Postfix of a log without hosts", []string{say(1, hostless, "bob"), say(3, postfix, "bob")}, "1"},
		{"a repeated line of Postfix", []string{
			say(1, backend, "bob"), say(3, postfix, "bob"), say(5, backend, "bob"), say(7, backend, "bob"),
			say(9, "mx postfix/smtpd[1]: message repeated 2 times: [ warning: unknown[203.0.113.5]: SASL LOGIN authentication failed: (reason unavailable), sasl_username=bob]"),
		}, "1 3 4"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := sample{lines: test.lines}
			var got []string
			for _, e := range s.read(newTestParser()) {
				if e.Kind == policy.AuthSuccess {
					continue
				}
				if e.Kind != policy.AuthFailure {
					t.Errorf("unexpected %v", e.Kind)
				}
				got = append(got, fmt.Sprint(e.Line))
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("counted lines %v, want %v of\n%s", got, test.want, strings.Join(test.lines, "\n"))
			}
		})
	}
}

// A host whose good users' logins begin with a refusal is known from the
// first that is seen to succeed.
func TestLoginTeachesThatDatabasesAreSeveral(t *testing.T) {
	for session, success := range map[string]string{
		",<A>": "mx dovecot: imap-login: Login: user=<bob>, method=PLAIN, rip=203.0.113.5, lip=10.0.0.1, mpid=7, session=<A>",
		"":     "mx postfix/smtpd[1]: 3A9F2C0D1E: client=unknown[203.0.113.5], sasl_method=PLAIN, sasl_username=bob",
	} {
		refusal := "mx dovecot: auth: passwd-file(%s,203.0.113.5" + session + "): unknown user"
		p := newTestParser()
		s := sample{lines: []string{
			"Nov 22 00:00:01 " + fmt.Sprintf(refusal, "bob"), "Nov 22 00:00:01 " + success, "Nov 22 00:00:09 " + fmt.Sprintf(refusal, "alice"),
		}}
		events := s.read(p)
		if len(events) != 2 || events[1].Kind != policy.AuthSuccess {
			t.Errorf("events %v, want a failure and a login", events)
		}
		state, err := p.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		p = newTestParser()
		if err := p.UnmarshalBinary(state); err != nil {
			t.Fatal(err)
		}
		if events := p.Line([]byte("Nov 22 00:00:19 "+fmt.Sprintf(refusal, "carol")), 1, nil); len(events) != 0 {
			t.Errorf("forgotten after a restart: %v", events)
		}
	}
}

func TestLedgerIsBounded(t *testing.T) {
	l := newLedger(8)
	for i := range 1000 {
		addr := fmt.Sprintf("203.0.113.%d", i%250)
		l.backend(caller{addr: mustAddr(addr)}, refusal{user: "bob", place: 1}, reference.AddDate(0, 0, i))
	}
	if len(l.notes) != 8 || len(l.newest) != 8 {
		t.Errorf("%d notes of %d sources, want 8 of 8", len(l.notes), len(l.newest))
	}
}

func TestTableForgetsTheEldest(t *testing.T) {
	table := newTable[int](3)
	for i := range 5 {
		table.put(uint64(i), i)
	}
	table.remove(3)
	table.put(9, 9)
	for key, want := range map[uint64]bool{0: false, 1: false, 2: false, 3: false, 4: true, 9: true} {
		if got := table.get(key) != nil; got != want {
			t.Errorf("key %d: found %v, want %v", key, got, want)
		}
	}
	if len(table.index) > 3 || len(table.slots) != 3 {
		t.Errorf("%d keys in %d slots", len(table.index), len(table.slots))
	}
}

func TestInternerIsBounded(t *testing.T) {
	in := newInterner(1 << 10)
	for i := range 5000 {
		for range 2 {
			want := fmt.Sprint("user", i)
			if got := in.name([]byte(want)); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	}
	if got := len(in.buckets) * len(nameBucket{}); got != 1<<10 {
		t.Errorf("%d names kept, want at most %d", got, 1<<10)
	}
	for i := range 4 * maxNameBytes / maxUserLen {
		if in.name(fmt.Appendf(nil, "%0255d", i)); in.bytes > maxNameBytes+2*maxUserLen {
			t.Fatalf("%d bytes kept", in.bytes)
		}
	}
	often := []byte("often")
	if n := testing.AllocsPerRun(10, func() { in.name(often) }); n != 0 {
		t.Errorf("a name that is known takes %v allocations", n)
	}
	if got := in.name([]byte("a\x1b[31m\xffb\x00")); got != "a?[31m?b?" {
		t.Errorf("got %q", got)
	}
	if got := in.name([]byte(strings.Repeat("x", 999))); len(got) != maxUserLen {
		t.Errorf("a name of %d bytes", len(got))
	}
}
