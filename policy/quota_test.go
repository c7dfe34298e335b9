package policy

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var quotaEpoch = time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)

func mustSpans(tb testing.TB, texts ...string) (spans []QuotaSpan) {
	tb.Helper()
	for _, text := range texts {
		s, err := ParseQuotaSpan(text)
		if err != nil {
			tb.Fatal(err)
		}
		spans = append(spans, s)
	}
	return spans
}

func TestParseQuotaSpan(t *testing.T) {
	for text, want := range map[string]QuotaSpan{
		"300/1h":          {Count: 300, Within: time.Hour},
		"300/1h burst 50": {Count: 300, Within: time.Hour, Burst: 50},
		" 1/1d ":          {Count: 1, Within: 24 * time.Hour},
	} {
		got, err := ParseQuotaSpan(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if again, err := ParseQuotaSpan(got.String()); err != nil || again != got {
			t.Errorf("%q is written as %q, which is read as %+v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "300", "/1h", "300/", "300/h", "0/1h", "-1/1h", "3.5/1h", "300/1h burst", "300/1h burst 0", "300/1h burst 301", "300/1h bust 5", "300/0s", "300000000/1h", "300/20w9d 1"} {
		if s, err := ParseQuotaSpan(text); err == nil {
			t.Errorf("%q is read as %+v", text, s)
		}
	}
}

// exactQuota is a quota by its definition alone: it remembers everything.
type exactQuota struct {
	span QuotaSpan
	at   []time.Time
	n    []int
}

// within is what was sent in a time before, that time not included.
func (e *exactQuota) within(at time.Time, span time.Duration) (sum int) {
	for i := range e.at {
		if at.Sub(e.at[i]) < span {
			sum += e.n[i]
		}
	}
	return sum
}

// Whatever is sent and whenever: what passes never exceeds the quota in any
// span of its time; what does not pass would exceed it in a span that is a
// sixtieth longer; and when it is said to fit, it does.
func TestQuotaAgainstExact(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		span := QuotaSpan{Count: 1 + random.IntN(200), Within: time.Duration(1+random.IntN(90_000)) * time.Second}
		if random.IntN(3) == 0 {
			span.Burst = 1 + random.IntN(span.Count)
		}
		q := NewQuotas(Limits{Users: 16})
		q.SetRules(QuotaRules{Each: Quota{Recipients: []QuotaSpan{span}}})
		exact := exactQuota{span: span}
		slot := time.Duration((int64(span.Within) + quotaSlots - 1) / quotaSlots)
		for now := quotaEpoch; len(exact.at) < 300; now = now.Add(time.Duration(random.Int64N(int64(span.Within) / int64(1+random.IntN(50))))) {
			m := &Mail{User: "u", Recipients: 1 + random.IntN(1+span.Count/8)}
			a := q.Ask(now, m)
			spent := exact.within(now, span.Within)
			if !a.Over {
				if spent+m.Recipients > span.Count {
					t.Fatalf("%s: %d of %d were spent, and %d more passed", span, spent, span.Count, m.Recipients)
				}
				q.Count(now, m)
				exact.at, exact.n = append(exact.at, now), append(exact.n, m.Recipients)
				continue
			}
			if longer := exact.within(now, span.Within+slot); span.Burst == 0 && longer+m.Recipients <= span.Count {
				t.Fatalf("%s: %d did not pass with %d spent within a slot more", span, m.Recipients, longer)
			}
			if a.Never || !a.Until.After(now) {
				t.Fatalf("%s: not now, and until %v, never %t", span, a.Until, a.Never)
			}
			if again := q.Ask(a.Until, m); again.Over {
				t.Fatalf("%s: at %v it fits from %v on, and then from %v on", span, now, a.Until, again.Until)
			}
			if span.Burst == 0 && a.Until.Sub(now) > span.Within+slot {
				t.Fatalf("%s: wait of %v", span, a.Until.Sub(now))
			}
			now = a.Until
		}
	}
}

// No more than the burst passes at once, and the rate after it.
func TestQuotaBurst(t *testing.T) {
	q := NewQuotas(Limits{Users: 16})
	q.SetRules(QuotaRules{Each: Quota{Messages: mustSpans(t, "60/1h burst 5")}})
	m := &Mail{User: "u", Recipients: 1}
	send := func(at time.Time) (passed int) {
		for range 20 {
			if !q.Ask(at, m).Over {
				q.Count(at, m)
				passed++
			}
		}
		return passed
	}
	if n := send(quotaEpoch); n != 5 {
		t.Errorf("at once passed %d", n)
	}
	if n := send(quotaEpoch.Add(3 * time.Minute)); n != 3 {
		t.Errorf("after three minutes passed %d", n)
	}
	if a := q.Ask(quotaEpoch.Add(3*time.Minute), m); !a.Until.Equal(quotaEpoch.Add(4 * time.Minute)) {
		t.Errorf("the next at %v", a.Until)
	}
}

// The most particular quota decides, and what it leaves open the next.
func TestQuotaRules(t *testing.T) {
	q := NewQuotas(Limits{Users: 16})
	q.SetRules(QuotaRules{
		Each:    Quota{Recipients: mustSpans(t, "10/1h"), Messages: mustSpans(t, "5/1h")},
		Users:   map[string]QuotaOverride{"Boss@a.test": {Each: Quota{Recipients: mustSpans(t, "100/1h")}}, "robot@a.test": {Exempt: true}},
		Domains: map[string]QuotaOverride{"a.test": {Each: Quota{Messages: []QuotaSpan{}}, Together: Quota{Recipients: mustSpans(t, "120/1h")}}},
		Groups: []QuotaGroup{{Name: "list", Members: []string{"boss@a.test", "Clerk@b.test"},
			QuotaOverride: QuotaOverride{Each: Quota{Recipients: mustSpans(t, "30/1h")}, Together: Quota{Messages: mustSpans(t, "2/1d")}}}},
		Source: Quota{Messages: mustSpans(t, "1/1m")},
		Sender: Quota{Messages: mustSpans(t, "2/1m")},
	})
	source := func(s string) Source { return SourceOf(netip.MustParseAddr(s)) }
	for i, c := range []struct {
		mail Mail
		over string // "" passes; else party and span
	}{
		{Mail{User: "x@c.test", Recipients: 10}, ""},
		{Mail{User: "x@c.test", Recipients: 1}, "user 10/1h"},
		{Mail{User: "boss@a.test", Recipients: 90}, ""},
		{Mail{User: "boss@a.test", Recipients: 11}, "user 100/1h"},
		{Mail{User: "y@a.test", Recipients: 10}, ""},
		{Mail{User: "z@a.test", Recipients: 10}, ""},
		{Mail{User: "boss@a.test", Recipients: 9}, ""},
		{Mail{User: "z2@a.test", Recipients: 2}, "domain 120/1h"},
		{Mail{User: "robot@a.test", Recipients: 5000}, ""},
		{Mail{User: "clerk@b.test", Recipients: 1}, "group 2/1d"},
		{Mail{User: "n", Recipients: 11}, "user 10/1h never"},
		{Mail{Source: source("192.0.2.1"), Sender: "s.test", Recipients: 1}, ""},
		{Mail{Source: source("192.0.2.1"), Sender: "t.test", Recipients: 1}, "source 1/1m"},
		{Mail{Source: source("192.0.2.2"), Sender: "s.test", Recipients: 1}, ""},
		{Mail{Source: source("192.0.2.3"), Sender: "s.test", Recipients: 1}, "sender 2/1m"},
	} {
		a := q.Ask(quotaEpoch, &c.mail)
		got := ""
		if a.Over {
			got = strings.TrimSpace(a.Use.Party.String() + " " + a.Use.Span.String())
			if a.Never {
				got += " never"
			}
		} else {
			q.Count(quotaEpoch, &c.mail)
		}
		if got != c.over {
			t.Errorf("%d: %+v: %q, want %q", i, c.mail, got, c.over)
		}
	}
	uses, exempt := q.Of(quotaEpoch, "BOSS@a.test")
	var told []string
	for _, u := range uses {
		told = append(told, u.Party.String()+" "+u.Measure.String()+" "+u.Span.String())
	}
	want := []string{"user recipients 100/1h", "group events 2/1d", "domain recipients 120/1h"}
	if exempt || !reflect.DeepEqual(told, want) || uses[0].Spent != 99 || uses[1].Spent != 2 || uses[2].Spent != 119 {
		t.Errorf("boss: %v %+v", told, uses)
	}
	if _, exempt := q.Of(quotaEpoch, "robot@a.test"); !exempt {
		t.Error("the robot is not exempt")
	}
}

// A clock that is set back must not stop anybody's mail.
func TestQuotaClockSetBack(t *testing.T) {
	q := NewQuotas(Limits{Users: 16})
	q.SetRules(QuotaRules{Each: Quota{Messages: mustSpans(t, "1/1h")}})
	m := &Mail{User: "u", Recipients: 1}
	q.Count(quotaEpoch, m)
	if a := q.Ask(quotaEpoch.Add(-30*time.Second), m); !a.Over {
		t.Error("half a minute back, all is forgotten")
	}
	if a := q.Ask(quotaEpoch.Add(-24*time.Hour), m); a.Over {
		t.Errorf("a day back, it waits until %v", a.Until)
	}
	q.Count(quotaEpoch.Add(-24*time.Hour), m)
	if a := q.Ask(quotaEpoch.Add(-24*time.Hour), m); !a.Over {
		t.Error("a day back, nothing counts")
	}
}

// What was sent earlier counts where it belongs, or not at all.
func TestQuotaLate(t *testing.T) {
	q := NewQuotas(Limits{Users: 16})
	q.SetRules(QuotaRules{Each: Quota{Messages: mustSpans(t, "2/1h")}})
	m := &Mail{User: "u", Recipients: 1}
	q.Count(quotaEpoch, m)
	q.Count(quotaEpoch.Add(-30*time.Minute), m)
	q.Count(quotaEpoch.Add(-3*time.Hour), m)
	a := q.Ask(quotaEpoch, m)
	if wait := a.Until.Sub(quotaEpoch); !a.Over || a.Use.Spent != 2 || wait < 30*time.Minute || wait > 31*time.Minute {
		t.Errorf("%+v", a)
	}
}

// A table that is full gives up who has spent the least; sources never
// displace users.
func TestQuotasAreBounded(t *testing.T) {
	q := NewQuotas(Limits{Users: 16})
	q.SetRules(QuotaRules{Each: Quota{Messages: mustSpans(t, "100/1h")}, Source: Quota{Messages: mustSpans(t, "100/1h")}})
	busy := &Mail{User: "busy", Recipients: 1}
	for range 100 {
		q.Count(quotaEpoch, busy)
	}
	addr := netip.MustParseAddr("10.0.0.0")
	for i := range 10_000 {
		addr = addr.Next()
		q.Count(quotaEpoch, &Mail{Source: SourceOf(addr), Recipients: 1})
		q.Count(quotaEpoch, &Mail{User: "u" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)), Recipients: 1})
	}
	if users, sources := q.Len(); users != 16 || sources != 16 {
		t.Errorf("%d users, %d sources", users, sources)
	}
	if !q.Ask(quotaEpoch, busy).Over {
		t.Error("who has spent the most was forgotten")
	}
}

func TestAskingAllocatesNothing(t *testing.T) {
	f := NewFlow(Limits{Users: 16})
	f.Quotas.SetRules(QuotaRules{Each: Quota{Messages: mustSpans(t, "100000/1h", "1000000/1d"), Recipients: mustSpans(t, "100000/1h burst 1000")}})
	m := &Mail{User: "u@x.test", Source: SourceOf(netip.MustParseAddr("192.0.2.1")), Recipients: 2}
	f.Ask(quotaEpoch, m)
	if n := testing.AllocsPerRun(1000, func() { f.Ask(quotaEpoch, m) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestFlowSnapshot(t *testing.T) {
	rules := QuotaRules{
		Each: Quota{Messages: mustSpans(t, "100/1h", "300/1d"), Recipients: mustSpans(t, "200/1h burst 20")}, Source: Quota{Messages: mustSpans(t, "3/1h")},
		Sender: Quota{Messages: mustSpans(t, "9/1h")}, Domains: map[string]QuotaOverride{"x": {Together: Quota{Messages: mustSpans(t, "500/1h")}}},
	}
	fresh := func() *Flow {
		f := NewFlow(Limits{Users: 100})
		f.Quotas.SetRules(rules)
		return f
	}
	whole, stopped := fresh(), fresh()
	random := rand.New(rand.NewPCG(3, 4))
	now := quotaEpoch
	for i := range 2000 {
		now = now.Add(time.Duration(random.IntN(60)) * time.Second)
		m := Mail{Recipients: 1 + random.IntN(5), Source: SourceOf(netip.AddrFrom4([4]byte{192, 0, 2, byte(random.IntN(30))})), Sender: "s"}
		if random.IntN(3) > 0 {
			m.User = string(rune('a'+random.IntN(5))) + "@x"
			whole.Known.Learn(m.User, m.Source, now)
			stopped.Known.Learn(m.User, m.Source, now)
		}
		if a, b := whole.Ask(now, &m), stopped.Ask(now, &m); a != b {
			t.Fatalf("%d: %+v, after restarts %+v", i, a, b)
		}
		if i%20 == 0 {
			saved, err := stopped.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			stopped = fresh()
			if err := stopped.UnmarshalBinary(saved); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(whole.Known.Of("a@x"), stopped.Known.Of("a@x")) {
				t.Fatal("who is known from where was lost")
			}
		}
	}
	saved, err := whole.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for i := range saved {
		damaged := append([]byte(nil), saved...)
		damaged[i] ^= 0x41
		if err := stopped.UnmarshalBinary(damaged); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		if err := stopped.UnmarshalBinary(saved[:i]); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("cut after %d: %v", i, err)
		}
	}
}

// A snapshot that a stranger has written is refused or taken, and never breaks
// anything.
func FuzzFlowSnapshot(f *testing.F) {
	flow := NewFlow(Limits{Users: 100})
	flow.Quotas.SetRules(QuotaRules{Each: Quota{Messages: mustSpans(f, "100/1h")}})
	flow.Ask(quotaEpoch, &Mail{User: "u", Recipients: 1})
	flow.Known.Learn("u", SourceOf(netip.MustParseAddr("192.0.2.1")), quotaEpoch)
	saved, err := flow.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(saved[len(flowMagic) : len(saved)-4])
	f.Fuzz(func(t *testing.T, body []byte) {
		r := NewFlow(Limits{Users: 100})
		r.Quotas.SetRules(QuotaRules{Each: Quota{Messages: mustSpans(t, "100/1h")}})
		if r.UnmarshalBinary(slices.Concat(sealed([][]byte{[]byte(flowMagic), body})...)) == nil {
			r.Ask(quotaEpoch, &Mail{User: "u", Recipients: 1})
			if _, err := r.MarshalBinary(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkFlowAsk(b *testing.B) {
	f := NewFlow(DefaultLimits())
	f.Quotas.SetRules(QuotaRules{Each: Quota{Messages: mustSpans(b, "1000000/1h"), Recipients: mustSpans(b, "3000000/1h", "10000000/1d")}})
	users := make([]string, 20_000)
	for i := range users {
		users[i] = strings.Repeat(string(rune('a'+i%26)), 3) + string(rune('0'+i%10)) + time.Duration(i).String() + "@example.org"
	}
	m := &Mail{Source: SourceOf(netip.MustParseAddr("192.0.2.1")), Recipients: 2}
	b.ReportAllocs()
	now := quotaEpoch
	for i := 0; b.Loop(); i++ {
		m.User = users[i%len(users)]
		now = now.Add(time.Microsecond)
		f.Ask(now, m)
	}
}

// Saving two hundred thousand busy users: nobody is answered meanwhile.
func BenchmarkFlowSnapshot(b *testing.B) {
	f := NewFlow(DefaultLimits())
	f.Quotas.SetRules(QuotaRules{Each: Quota{Recipients: mustSpans(b, "300/1h", "1000/1d")}})
	for i := range 200_000 {
		m := Mail{User: time.Duration(i).String() + "@example.org", Source: sourceN(i), Recipients: 1}
		for n := range 5 {
			at := quotaEpoch.Add(time.Duration(n) * 20 * time.Minute)
			f.Known.Learn(m.User, m.Source, at)
			f.Quotas.Count(at, &m)
		}
	}
	for b.Loop() {
		saved, err := f.MarshalBinary()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(saved))/1e6, "MB")
	}
}
