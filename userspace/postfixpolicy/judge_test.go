package postfixpolicy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/policy"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// court is a judge with a clock and one connection.
type court struct {
	*testing.T
	judge   *Judge
	now     time.Time
	session Session
	next    int // number of the next message
}

func newCourt(t *testing.T, s Settings, recipients ...string) *court {
	t.Helper()
	c := &court{T: t, now: noon}
	c.judge = NewJudge(policy.Limits{Users: 1000}, func() time.Time { return c.now })
	var spans []policy.QuotaSpan
	for _, text := range recipients {
		span, err := policy.ParseQuotaSpan(text)
		if err != nil {
			t.Fatal(err)
		}
		spans = append(spans, span)
	}
	c.judge.Set(s, policy.QuotaRules{Each: policy.Quota{Recipients: spans}})
	return c
}

// ask asks about a message, a new one unless attributes name its instance.
func (c *court) ask(attributes ...string) string {
	c.Helper()
	c.next++
	var r Request
	text := request(append([]string{fmt.Sprintf("instance=%d", c.next)}, attributes...)...)
	if err := r.parse([]byte(strings.TrimSuffix(text, "\n\n"))); err != nil {
		c.Fatal(err)
	}
	return strings.TrimSuffix(string(c.judge.Answer(&c.session, &r, nil)), "\n\n")
}

// told empties the queue and writes what was in it.
func (c *court) told() (out []string) {
	for {
		select {
		case t := <-c.judge.Told():
			if d := t.Decision; d != nil {
				out = append(out, fmt.Sprintf("decision %s %s %s until %s: %s", d.Action, d.User, d.Rule, d.Until.Format(time.TimeOnly), d.Reason))
			} else {
				out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s %d %s", t.Event.Kind, t.Event.User, t.Event.Source, t.Event.Recipients, t.ID())))
			}
		default:
			return out
		}
	}
}

func (c *court) want(got, want string) {
	c.Helper()
	if got != want {
		c.Errorf("got  %q\nwant %q", got, want)
	}
}

func (c *court) wantTold(want ...string) {
	c.Helper()
	c.want(strings.Join(c.told(), "\n"), strings.Join(want, "\n"))
}

// A message counts once, whichever stages it is asked about at and on
// whichever connection; who is over the quota is told until when, and the
// ledger is told once.
func TestJudgeCountsOnce(t *testing.T) {
	c := newCourt(t, Settings{Enforce: true}, "5/1h")
	c.want(c.ask("instance=a", "protocol_state=RCPT", "recipient_count=0"), "action=DUNNO")
	c.want(c.ask("instance=a"), "action=DUNNO")
	c.want(c.ask("instance=a", "protocol_state=END-OF-MESSAGE"), "action=DUNNO")
	c.session = Session{}
	c.want(c.ask("instance=a", "protocol_state=END-OF-MESSAGE"), "action=DUNNO")
	const told = "auth_success alice@example.test 203.0.113.9 0"
	c.wantTold(told, "message alice@example.test 203.0.113.9 3 B2A7E120C55", told)

	c.now = c.now.Add(10 * time.Minute)
	const over = "action=DEFER_IF_PERMIT 4.7.1 The limit of 5 recipients in 1h is reached; send again after 2026-11-26 13:01:00 UTC"
	c.want(c.ask(), over)
	c.now = c.now.Add(time.Second)
	c.want(c.ask(), over)
	c.want(c.ask("recipient_count=2"), "action=DUNNO")
	c.want(c.ask("sasl_username=bob"), "action=DUNNO")
	c.want(c.ask("recipient_count=6"), "action=REJECT 5.7.1 One message has more recipients than the limit of 5 recipients in 1h; send it to fewer at a time")
	c.wantTold("decision defer alice@example.test quota until 13:01:00: 3 recipients in 1h and 3 more, of 5",
		"message alice@example.test 203.0.113.9 2 B2A7E120C55", "auth_success bob 203.0.113.9 0", "message bob 203.0.113.9 3 B2A7E120C55", told)
	if v := c.judge.Verdicts(); v.Messages != 3 || v.Over != 3 || v.Lost != 0 {
		t.Errorf("%+v", v)
	}
}

// Each kind of answer, and none in mode observe.
func TestJudgeReplies(t *testing.T) {
	for reply, want := range map[Reply]string{
		Defer:  "action=DEFER_IF_PERMIT 4.7.1 The limit of 3 recipients in 1h is reached; send again after 2026-11-26 13:01:00 UTC",
		Reject: "action=REJECT 5.7.1 The limit of 3 recipients in 1h is reached",
		Hold:   "action=HOLD weir: The limit of 3 recipients in 1h is reached; send again after 2026-11-26 13:01:00 UTC",
		Slow:   "action=sleep 7",
	} {
		c := newCourt(t, Settings{Enforce: true, Over: reply, Pause: 7 * time.Second}, "3/1h")
		c.want(c.ask(), "action=DUNNO")
		c.told()
		c.want(c.ask(), want)
		events := len(c.told()) // the decision, and the message if it is taken
		if taken := reply == Hold || reply == Slow; taken != (events == 2) {
			t.Errorf("%s: told %d", reply, events)
		}
	}
	c := newCourt(t, Settings{}, "3/1h")
	c.want(c.ask(), "action=DUNNO")
	c.want(c.ask(), "action=DUNNO")
	if told := c.told(); len(told) != 4 || !strings.HasPrefix(told[2], "decision defer") {
		t.Errorf("observing: %v", told)
	}
}

// What stands on a user decides before the message is there, and strangers of
// a guarded user are turned away while the user's own sources are not.
func TestJudgeFollowsDecisions(t *testing.T) {
	allowed := netip.MustParseAddr("198.51.100.9")
	c := newCourt(t, Settings{Enforce: true, Guarded: Reject, Allowed: func(a netip.Addr) bool { return a == allowed }})
	c.judge.Logged(&policy.Event{Time: noon.Add(-24 * time.Hour), Kind: policy.AuthSuccess, Source: netip.MustParseAddr("192.0.2.10"), User: "ALICE@example.test"})
	stand := func(a policy.Action) {
		d := &policy.Decision{Target: policy.Target{User: "alice@example.test"}, Action: a, Since: noon, Until: noon.Add(time.Hour), Rule: "stolen", Rate: policy.Rate{Every: time.Minute, Burst: 4}}
		c.judge.Flow(func(f *policy.Flow) { f.Stand(d.User, d) })
	}
	rcpt := []string{"protocol_state=RCPT", "recipient_count=0"}
	stand(policy.Guard)
	c.want(c.ask(rcpt...), "action=REJECT 5.7.1 This account may send only from where it has sent before, for now")
	c.want(c.ask(), "action=REJECT 5.7.1 This account may send only from where it has sent before, for now")
	for _, from := range []string{"192.0.2.10", "127.0.0.1", "198.51.100.9", "unknown"} {
		c.want(c.ask("client_address="+from), "action=DUNNO")
	}
	stand(policy.Defer)
	c.judge.Set(Settings{Enforce: true}, policy.QuotaRules{})
	c.want(c.ask(rcpt...), "action=DEFER_IF_PERMIT 4.7.1 This account may not send for now; send again after 2026-11-26 13:00:00 UTC")
	stand(policy.Limit)
	c.want(c.ask(rcpt...), "action=DUNNO")
	c.want(c.ask("recipient_count=4"), "action=REJECT 5.7.1 The mail of this account is limited for now; send it to fewer at a time")
	c.want(c.ask("recipient_count=3"), "action=DUNNO")
	c.want(c.ask("recipient_count=1"), "action=DEFER_IF_PERMIT 4.7.1 The mail of this account is limited for now; send again after 2026-11-26 12:01:00 UTC")
}

// Recipients that Postfix refuses after they were asked about.
func TestJudgeSeesHarvests(t *testing.T) {
	c := newCourt(t, Settings{Enforce: true, Harvest: true})
	rcpt := func(id, queue string) {
		c.ask("sasl_username=", "instance="+id, "protocol_state=RCPT", "recipient_count=0", "queue_id="+queue)
	}
	rcpt("a", "")
	c.wantTold()
	rcpt("a", "") // so the first was refused
	rcpt("a", "") // and the second
	rcpt("a", "") // and the third
	const unknown = "unknown_recipient  203.0.113.9 0"
	c.wantTold(unknown, unknown, unknown)
	rcpt("a", "Q1") // the fourth was not
	rcpt("a", "Q1")
	c.wantTold()
	c.ask("sasl_username=", "instance=a", "queue_id=Q1", "recipient_count=2") // of six, three known: one more
	c.wantTold(unknown, "message  203.0.113.9 2 Q1")
	rcpt("b", "") // a call-out
	rcpt("c", "")
	c.wantTold()
	user := "sasl_username=alice@example.test"
	c.ask(user, "instance=d", "protocol_state=RCPT", "recipient_count=0", "queue_id=")
	c.ask(user, "instance=d", "protocol_state=RCPT", "recipient_count=0", "queue_id=")
	c.wantTold("auth_success alice@example.test 203.0.113.9 0") // who is logged in mistypes
}

// A client that names many recipients, each in a message that it leaves, and
// sends nothing, has come for the names.
func TestJudgeSeesProbes(t *testing.T) {
	c := newCourt(t, Settings{Enforce: true, Harvest: true, Allowed: func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.99") }})
	n := 0
	probe := func(from, sender, recipient string) {
		n++
		c.ask("sasl_username=", fmt.Sprintf("instance=p%d", n), "protocol_state=RCPT", "recipient_count=0", "queue_id=", "client_address="+from, "sender="+sender, "recipient="+recipient)
	}
	const thief, unknown = "198.51.100.7", "unknown_recipient  198.51.100.7 0"
	names := func(from, sender string, count int) {
		for i := range count {
			probe(from, sender, fmt.Sprintf("r%d@example.test", i))
		}
		probe("203.0.113.1", "", "x@example.test") // the next client of the same smtpd
	}
	names(thief, "a@example.org", 20)
	c.wantTold() // nothing has shown yet that DATA is asked about at all
	c.ask("sasl_username=", "instance=m")
	c.told()
	names(thief, "a@example.org", 5)
	c.wantTold()
	names(thief, "a@example.org", 7) // five of them again
	c.wantTold(unknown, unknown)
	names("198.51.100.8", "", 20)            // call-outs
	names("192.0.2.99", "a@example.org", 20) // one of allow
	c.wantTold()
	for range 20 {
		probe("198.51.100.9", "a@example.org", "always@example.test")
	}
	names("198.51.100.9", "a@example.org", 3)
	c.ask("sasl_username=", "instance=n", "client_address=198.51.100.9") // it sends
	c.wantTold("message  198.51.100.9 3 B2A7E120C55")
	names("198.51.100.9", "a@example.org", 5)
	c.wantTold()
	c.now = c.now.Add(25 * time.Hour)
	names(thief, "a@example.org", 5)
	c.wantTold()

	// Names behind one that is accepted.
	id := func(name, queue string) {
		c.ask("sasl_username=", "instance=long", "protocol_state=RCPT", "recipient_count=0", "queue_id="+queue, "client_address=198.51.100.10", "recipient="+name)
	}
	id("good@example.test", "")
	for i := range 8 {
		id(fmt.Sprintf("r%d@example.test", i), "Q1")
	}
	probe("203.0.113.1", "", "x@example.test")
	c.wantTold(strings.TrimSuffix(strings.Repeat("unknown_recipient  198.51.100.10 0\n", 4), "\n"))
}

// A core that does not keep up costs events, which are counted, and never the
// answer.
func TestJudgeNeverWaits(t *testing.T) {
	c := newCourt(t, Settings{Enforce: true})
	for range toldSize + 100 {
		c.want(c.ask(), "action=DUNNO")
	}
	if v := c.judge.Verdicts(); v.Lost != 101 {
		t.Errorf("lost %d", v.Lost)
	}
}

func TestJudgeAllocatesNothing(t *testing.T) {
	c := newCourt(t, Settings{Enforce: true}, "100000000/1h")
	var r Request
	if err := r.parse([]byte(strings.TrimSuffix(atData, "\n\n"))); err != nil {
		t.Fatal(err)
	}
	instance, out, n := []byte("0000000000"), make([]byte, 0, 256), 0
	answer := func() {
		n++
		for i, d := len(instance)-1, n; i >= 0; i, d = i-1, d/10 {
			instance[i] = byte('0' + d%10)
		}
		r.Instance = instance
		out = c.judge.Answer(&c.session, &r, out[:0])
		for len(c.judge.told) > 0 {
			<-c.judge.told
		}
	}
	answer()
	if n := testing.AllocsPerRun(1000, answer); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
