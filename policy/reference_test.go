package policy

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"
)

// reference is the engine written for clarity alone: it keeps every event
// for ever and counts anew each time. It knows no bounds.
type reference struct {
	rules   []Rule
	now     time.Time
	seen    map[string][]Event // rule name and subject → what counts or counted
	success map[string]*span   // source, or user and source
	sources map[string]*standing
	users   map[string]*standing
}

type span struct{ first, last time.Time }

type standing struct {
	until   time.Time
	rule    *Rule
	offence int
}

func newReference(rules []Rule) *reference {
	return &reference{
		rules: rules, seen: map[string][]Event{}, success: map[string]*span{},
		sources: map[string]*standing{}, users: map[string]*standing{},
	}
}

func (s *span) learn(at time.Time) {
	if s.last.IsZero() || at.Sub(s.last) > FamiliarFor {
		s.first, s.last = at, at
	}
	if at.Before(s.first) {
		s.first = at
	}
	if at.After(s.last) {
		s.last = at
	}
}

func (m *reference) familiar(key string, at time.Time, r *Rule) bool {
	s := m.success[key]
	return r.SpareKnown != 0 && s != nil && at.Sub(s.first) >= r.SpareKnown && at.Sub(s.last) <= FamiliarFor
}

func (m *reference) learn(key string, at time.Time) {
	if m.success[key] == nil {
		m.success[key] = &span{}
	}
	m.success[key].learn(at)
}

// total adds ev to the rule's events of subject and returns what counts now,
// oldest first, one of each for distinct measures, and its sum.
func (m *reference) total(r *Rule, subject string, ev Event) (counting []Event, sum int) {
	key := r.Name + "|" + subject
	all := append(slices.Clone(m.seen[key]), ev)
	slices.SortStableFunc(all, func(a, b Event) int { return a.Time.Compare(b.Time) })
	newest := all[len(all)-1].Time
	if r.Measure == MeasureUsers || r.Measure == MeasureSources {
		same := func(a, b Event) bool {
			if r.Measure == MeasureUsers {
				return a.User == b.User
			}
			return SourceOf(a.Source) == SourceOf(b.Source)
		}
		var latest []Event
		for i, a := range all {
			if !slices.ContainsFunc(all[i+1:], func(b Event) bool { return same(a, b) }) {
				latest = append(latest, a)
			}
		}
		all = latest
	}
	for _, a := range all {
		if newest.Sub(a.Time) < r.Within {
			counting = append(counting, a)
			if sum++; r.Measure == MeasureRecipients {
				sum += max(a.Recipients, 1) - 1
			}
		}
	}
	m.seen[key] = counting
	return counting, sum
}

func (m *reference) observe(ev Event) []Decision {
	if ev.Time.After(m.now) {
		m.now = ev.Time
	}
	if !Judged(ev.Source) {
		return nil
	}
	var out []Decision
	source := SourceOf(ev.Source).String()
	success := ev.User != "" && (ev.Kind == AuthSuccess || ev.Kind == Message)
	under := m.sources[source]
	if under != nil && !ev.Time.Before(under.until) {
		under = nil
	}
	dropped := under != nil && severity(under.rule.Action) >= severity(Drop)
	if success {
		if under == nil {
			m.learn(source, ev.Time)
		}
		for i := range m.rules {
			if r := &m.rules[i]; r.SuccessForgives && (r.Per != PerUser || !dropped) {
				// what the user failed from there, and the source's connections
				key, user := r.Name+"|"+source, ev.User
				if r.Per == PerUser {
					key, user = r.Name+"|"+ev.User, ""
				}
				m.seen[key] = slices.DeleteFunc(m.seen[key], func(a Event) bool {
					switch {
					case a.Time.After(ev.Time):
						return false
					case a.Kind == Connection:
						return r.Per == PerSource
					}
					return a.Kind == AuthFailure && (user == "" && SourceOf(a.Source) == SourceOf(ev.Source) || a.User == user)
				})
			}
		}
	}
	for i := range m.rules {
		if r := &m.rules[i]; ev.Kind == Message && r.SuccessForgives && r.Per == PerSource {
			m.seen[r.Name+"|"+source] = slices.DeleteFunc(m.seen[r.Name+"|"+source], func(a Event) bool {
				return a.Kind == Connection && !a.Time.After(ev.Time)
			})
		}
	}
	var fired *Rule
	for i := range m.rules {
		r := &m.rules[i]
		if r.Per != PerSource || !slices.Contains(r.Events, ev.Kind) ||
			under != nil && severity(r.Action) <= severity(under.rule.Action) ||
			r.Measure == MeasureUsers && ev.User == "" || m.familiar(source, ev.Time, r) {
			continue
		}
		if _, sum := m.total(r, source, ev); sum >= r.Threshold && (fired == nil || severity(r.Action) > severity(fired.Action)) {
			fired = r
		}
	}
	if fired != nil {
		out = append(out, m.flag(source, fired))
	}
	if ev.User != "" {
		out = m.observeUser(ev, source, success, dropped, out)
	}
	return out
}

func (m *reference) observeUser(ev Event, source string, success, dropped bool, out []Decision) []Decision {
	home := ev.User + "@" + source
	if g := m.users[ev.User]; g != nil && ev.Time.Before(g.until) {
		if m.success[home] != nil && success {
			m.learn(home, ev.Time)
		}
		if slices.Contains(g.rule.Events, ev.Kind) && !m.familiar(home, ev.Time, g.rule) {
			out = m.flagFor(home, source, g.rule, ev.Time, out)
		}
		return out
	}
	if dropped {
		return out
	}
	var fired *Rule
	var because []Event
	for i := range m.rules {
		r := &m.rules[i]
		if r.Per != PerUser || !slices.Contains(r.Events, ev.Kind) || m.familiar(home, ev.Time, r) {
			continue
		}
		if counting, sum := m.total(r, ev.User, ev); sum >= r.Threshold && fired == nil {
			fired, because = r, counting
		}
	}
	if success {
		m.learn(home, ev.Time)
	}
	if fired == nil {
		return out
	}
	g := m.stand(m.users, ev.User, fired)
	out = append(out, Decision{Target: Target{User: ev.User}, Action: Guard, Rule: fired.Name, Since: m.now, Until: g.until, Offence: g.offence})
	judged := map[string]bool{}
	related := func(r *Rule) bool {
		return slices.ContainsFunc(r.Events, func(k Kind) bool { return slices.Contains(fired.Events, k) })
	}
	for i := range m.rules {
		if r := &m.rules[i]; r.Per == PerUser && r != fired && related(r) {
			because = append(because, m.seen[r.Name+"|"+ev.User]...)
		}
	}
	for _, a := range because {
		s := SourceOf(a.Source).String()
		if !judged[s] && !m.familiar(ev.User+"@"+s, m.now, fired) {
			out = m.flagFor(ev.User+"@"+s, s, fired, m.now, out)
		}
		judged[s] = true
	}
	for i := range m.rules {
		if m.rules[i].Per == PerUser {
			delete(m.seen, m.rules[i].Name+"|"+ev.User)
		}
	}
	return out
}

func (m *reference) stand(all map[string]*standing, subject string, r *Rule) *standing {
	s := all[subject]
	if s == nil || s.offence == 0 || m.now.Sub(s.until) > r.forget() {
		s = &standing{}
	}
	s = &standing{offence: s.offence + 1, rule: r}
	s.until = m.now.Add(r.Lasts(s.offence))
	all[subject] = s
	return s
}

func (m *reference) flagFor(home, source string, r *Rule, at time.Time, out []Decision) []Decision {
	if s := m.sources[source]; s != nil && at.Before(s.until) && severity(s.rule.Action) >= severity(r.Action) {
		return out
	}
	delete(m.success, home)
	return append(out, m.flag(source, r))
}

func (m *reference) flag(source string, r *Rule) Decision {
	s := m.stand(m.sources, source, r)
	delete(m.success, source)
	for i := range m.rules {
		if o := &m.rules[i]; o.Per == PerSource && severity(o.Action) <= severity(r.Action) {
			delete(m.seen, o.Name+"|"+source)
		}
	}
	prefix, err := netip.ParsePrefix(source)
	if err != nil {
		prefix = netip.PrefixFrom(netip.MustParseAddr(source), 32)
	}
	return Decision{Target: Target{Prefix: prefix}, Action: r.Action, Rate: r.Rate, Rule: r.Name, Since: m.now, Until: s.until, Offence: s.offence}
}

// bare leaves of a decision what the reference knows.
func bare(d Decision) Decision {
	d.Reason, d.Evidence = "", Evidence{}
	return d
}

// randomRules is rules with small figures, so that random events meet them.
func randomRules(rng *rand.Rand) []Rule {
	span := func(low, high int) time.Duration { return time.Duration(low+rng.IntN(high-low)) * time.Second }
	rules := make([]Rule, 1+rng.IntN(8))
	for i := range rules {
		r := &rules[i]
		r.Name = "rule-" + strconv.Itoa(i)
		r.Per = Per(1 + rng.IntN(2))
		r.Threshold = 2 + rng.IntN(8)
		r.Within = span(20, 600)
		kinds := []Kind{AuthFailure, AuthSuccess, Message, UnknownRecipient, Connection, Content}
		rng.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		r.Events = kinds[:1+rng.IntN(2)]
		r.Measure = MeasureEvents
		switch rng.IntN(3) {
		case 0:
			r.Measure, r.Events, r.Threshold = MeasureRecipients, []Kind{Message}, 3+rng.IntN(40)
		case 1:
			if r.Measure = MeasureUsers; r.Per == PerUser {
				r.Measure = MeasureSources
			}
		}
		r.SuccessForgives = r.Per == PerSource && slices.Contains(r.Events, AuthFailure) && rng.IntN(2) == 0
		if rng.IntN(2) == 0 {
			r.SpareKnown = span(30, 1200)
		}
		r.Action = Drop
		if rng.IntN(3) == 0 {
			r.Action, r.Rate = Limit, Rate{Every: 10 * time.Second, Burst: 3}
		}
		r.For = span(10, 300)
		r.Escalate = float64(1 + rng.IntN(3))
		r.Cap = r.For * 5
		r.Forget = span(100, 3000)
	}
	return rules
}

// randomEvents is a stream of few sources and users, some of it out of order
// and with gaps.
func randomEvents(rng *rand.Rand, n int) []Event {
	at := time.Unix(1_700_000_000, 0).UTC()
	events := make([]Event, n)
	for i := range events {
		at = at.Add(time.Duration(rng.Int64N(int64(20 * time.Second))))
		if rng.IntN(500) == 0 {
			at = at.Add(time.Hour)
		}
		ev := Event{Time: at, Kind: Kind(1 + rng.IntN(6)), Line: uint64(i + 1), Service: "smtp", Server: "postfix"}
		switch rng.IntN(10) {
		case 0:
			ev.Time = at.Add(-time.Duration(rng.Int64N(int64(2 * time.Minute))))
		case 1:
			ev.Time = at.Add(-time.Duration(rng.Int64N(int64(time.Hour))))
		case 2:
			ev.Time = ev.Time.Truncate(time.Minute) // equal times
		}
		switch rng.IntN(12) {
		case 0:
			ev.Source = netip.MustParseAddr("127.0.0.1")
		case 1:
			ev.Source = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 7: byte(rng.IntN(2)), 15: byte(rng.IntN(256))})
		default:
			ev.Source = netip.AddrFrom4([4]byte{203, 0, 113, byte(rng.IntN(6))})
		}
		if rng.IntN(10) > 0 {
			ev.User = "user" + strconv.Itoa(rng.IntN(5))
		}
		if ev.Kind == Message {
			ev.Recipients = rng.IntN(8)
		}
		events[i] = ev
	}
	return events
}

// wide keeps everything that the random streams can hold.
func wide() Limits { return Limits{Sources: 1000, Users: 1000, Observations: 100_000} }

func TestEngineAgainstReference(t *testing.T) {
	decisions := map[Action]int{}
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		rules := randomRules(rng)
		e, m := mustEngine(t, rules, wide()), newReference(rules)
		for i, ev := range randomEvents(rng, 1500) {
			got := e.Observe(&ev, nil)
			want := m.observe(ev)
			if len(got) != len(want) {
				t.Fatalf("seed %d, event %d %+v: %d decisions, want %d\ngot  %+v\nwant %+v", seed, i, ev, len(got), len(want), got, want)
			}
			for j := range got {
				if !sameDecision(bare(got[j]), want[j]) {
					t.Fatalf("seed %d, event %d %+v, decision %d\ngot  %#v\nwant %#v", seed, i, ev, j, bare(got[j]), want[j])
				}
				decisions[got[j].Action]++
			}
		}
	}
	t.Logf("decisions compared: %v", decisions)
	for _, a := range []Action{Drop, Limit, Guard} {
		if decisions[a] < 1000 {
			t.Errorf("only %d decisions to %s: the streams do not test enough", decisions[a], a)
		}
	}
}

func sameDecision(a, b Decision) bool {
	return a.Target == b.Target && a.Action == b.Action && a.Rate == b.Rate && a.Rule == b.Rule && a.Offence == b.Offence &&
		a.Since.Equal(b.Since) && a.Until.Equal(b.Until)
}
