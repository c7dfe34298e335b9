package loader

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestActions(t *testing.T) {
	d := mustOpen(t, testOptions(t))
	mustDo(t, d.Put(
		Entry{Prefix: prefix("192.0.2.0/24"), Action: ActionDrop},
		Entry{Prefix: prefix("192.0.2.1/32"), Action: ActionAllow},
		Entry{Prefix: prefix("192.0.2.128/25"), Action: ActionAllow},
		Entry{Prefix: prefix("192.0.2.255/32"), Action: ActionDrop},
		Entry{Prefix: prefix("2001:db8::/32"), Action: ActionDrop},
		Entry{Prefix: prefix("2001:db8:0:1::/64"), Action: ActionAllow},
		Entry{Prefix: prefix("2001:db8:ff00::/40"), Action: ActionAllow},
		Entry{Prefix: prefix("2001:db8:ff00:1::/64"), Action: ActionDrop},
		Entry{Prefix: prefix("203.0.113.5/32"), Action: ActionLimit, Every: time.Hour, Burst: 1},
	))
	for _, c := range []struct {
		name    string
		frame   []byte
		verdict uint32
		exit    string
	}{
		{"wider drop", syn4("192.0.2.2"), xdpDrop, "dropped"},
		{"wider drop concerns openings only", data4("192.0.2.2"), xdpPass, "unflagged"},
		{"source's allow over wider drop", syn4("192.0.2.1"), xdpPass, "allowed"},
		{"longer allow over shorter drop", syn4("192.0.2.130"), xdpPass, "allowed"},
		{"source's drop over wider allow", syn4("192.0.2.255"), xdpDrop, "dropped"},
		{"source's drop concerns everything", data4("192.0.2.255"), xdpDrop, "dropped"},
		{"IPv6 wider drop", syn6("2001:db8:5::1"), xdpDrop, "dropped"},
		{"IPv6 wider drop, not an opening", data6("2001:db8:5::1"), xdpPass, "unflagged"},
		{"IPv6 source's allow over wider drop", syn6("2001:db8:0:1::7"), xdpPass, "allowed"},
		{"IPv6 longer allow over shorter drop", syn6("2001:db8:ff00:2::7"), xdpPass, "allowed"},
		{"IPv6 source's drop over wider allow", data6("2001:db8:ff00:1::7"), xdpDrop, "dropped"},
		{"none", syn6("2001:db9::1"), xdpPass, "unflagged"},
		{"limit, first opening", syn4("203.0.113.5"), xdpPass, "within_limit"},
		{"limit, second opening", syn4("203.0.113.5"), xdpDrop, "over_limit"},
		{"limit passes what is open", data4("203.0.113.5"), xdpPass, "within_limit"},
		{"limit, third opening", syn4("203.0.113.5"), xdpDrop, "over_limit"},
	} {
		t.Run(c.name, func(t *testing.T) { wantExit(t, d, c.frame, c.verdict, c.exit) })
	}

	for p, want := range map[string]struct{ attempts, dropped uint64 }{
		"192.0.2.0/24":      {1, 1},
		"192.0.2.1/32":      {1, 0},
		"192.0.2.255/32":    {1, 2},
		"2001:db8::/32":     {1, 1},
		"2001:db8:0:1::/64": {1, 0},
		"203.0.113.5/32":    {3, 2},
	} {
		e, found, err := d.Get(prefix(p))
		if err != nil || !found || e.Attempts != want.attempts || e.Dropped != want.dropped {
			t.Errorf("%s: %d attempts, %d dropped (%t, %v), want %+v", p, e.Attempts, e.Dropped, found, err, want)
		}
	}
}

func TestWholeInternet(t *testing.T) {
	d := mustOpen(t, testOptions(t))
	mustDo(t, d.Put(
		Entry{Prefix: prefix("0.0.0.0/0"), Action: ActionDrop},
		Entry{Prefix: prefix("::/0"), Action: ActionDrop},
	))
	wantExit(t, d, syn4("8.8.8.8"), xdpDrop, "dropped")
	wantExit(t, d, syn6("2620:fe::fe"), xdpDrop, "dropped")
}

// Nobody but the kernel looks at the clock here.
func TestExpiry(t *testing.T) {
	s := mustSimulate(t, testOptions(t))
	in := func(d time.Duration) time.Time { return s.wall().Add(d) }
	mustDo(t, s.Put(
		Entry{Prefix: prefix("192.0.2.1/32"), Action: ActionDrop, Expires: in(time.Hour)},
		Entry{Prefix: prefix("2001:db8:1:2::/64"), Action: ActionDrop, Expires: in(time.Hour)},
		Entry{Prefix: prefix("198.51.100.0/24"), Action: ActionDrop, Expires: in(time.Hour)},
		Entry{Prefix: prefix("192.0.2.9/32"), Action: ActionDrop, Expires: in(-time.Second)},
		Entry{Prefix: prefix("192.0.2.10/32"), Action: ActionDrop, Expires: in(-100 * 365 * 24 * time.Hour)},
		Entry{Prefix: prefix("192.0.2.11/32"), Action: ActionDrop},
		Entry{Prefix: prefix("192.0.2.12/32"), Action: ActionDrop, Expires: in(290 * 365 * 24 * time.Hour)},
	))
	flagged := [][]byte{syn4("192.0.2.1"), syn6("2001:db8:1:2::5"), syn4("198.51.100.77")}
	for _, f := range flagged {
		wantExit(t, s.Datapath, f, xdpDrop, "dropped")
	}
	wantExit(t, s.Datapath, syn4("192.0.2.9"), xdpPass, "unflagged")
	wantExit(t, s.Datapath, syn4("192.0.2.10"), xdpPass, "unflagged")

	s.advance(time.Hour - time.Nanosecond)
	for _, f := range flagged {
		wantExit(t, s.Datapath, f, xdpDrop, "dropped")
	}
	s.advance(time.Nanosecond)
	wantExit(t, s.Datapath, flagged[2], xdpPass, "unflagged") // a prefix ends at once
	s.advance(endUnit)
	for _, f := range flagged {
		wantExit(t, s.Datapath, f, xdpPass, "unflagged")
	}
	s.advance(50 * 365 * 24 * time.Hour)
	wantExit(t, s.Datapath, syn4("192.0.2.11"), xdpDrop, "dropped")
	wantExit(t, s.Datapath, syn4("192.0.2.12"), xdpDrop, "dropped")
}

func TestExpiredHidesNothing(t *testing.T) {
	s := mustSimulate(t, testOptions(t))
	soon := s.wall().Add(time.Second)
	mustDo(t, s.Put(
		// A source's own entry before a wider one.
		Entry{Prefix: prefix("192.0.2.1/32"), Action: ActionAllow, Expires: soon},
		Entry{Prefix: prefix("192.0.2.0/24"), Action: ActionDrop},
		// Expired ones in between.
		Entry{Prefix: prefix("2001:db8::/32"), Action: ActionDrop},
		Entry{Prefix: prefix("2001:db8:1::/48"), Action: ActionAllow, Expires: soon},
		Entry{Prefix: prefix("2001:db8:1:2::/63"), Action: ActionAllow, Expires: soon},
	))
	// One of every length over the same address, all expired but the widest.
	mustDo(t, s.Put(Entry{Prefix: prefix("0.0.0.0/0"), Action: ActionDrop}, Entry{Prefix: prefix("::/0"), Action: ActionDrop}))
	for bits := 1; bits < 32; bits++ {
		p := must(prefix("85.85.85.85/32").Addr().Prefix(bits))
		mustDo(t, s.Put(Entry{Prefix: p, Action: ActionAllow, Expires: soon}))
	}
	for bits := 1; bits < 64; bits++ {
		p := must(prefix("5555:5555:5555:5555::/64").Addr().Prefix(bits))
		mustDo(t, s.Put(Entry{Prefix: p, Action: ActionAllow, Expires: soon}))
	}
	frames := [][]byte{syn4("192.0.2.1"), syn6("2001:db8:1:2::5"), syn4("85.85.85.85"), syn6("5555:5555:5555:5555::1")}
	for _, f := range frames {
		wantExit(t, s.Datapath, f, xdpPass, "allowed")
	}
	s.advance(time.Second + endUnit)
	for _, f := range frames {
		wantExit(t, s.Datapath, f, xdpDrop, "dropped")
	}
}

func TestSetPorts(t *testing.T) {
	d := dropped(t)
	at := func(port uint16) []byte { return ip4{}.wrap(tcp{port: port}.bytes()) }
	mustDo(t, d.SetPorts([]uint16{1, 993, 65535}))
	for _, port := range []uint16{1, 993, 65535} {
		wantExit(t, d, at(port), xdpDrop, "dropped")
	}
	for _, port := range []uint16{25, 465, 587, 2, 992, 994, 65534} {
		wantExit(t, d, at(port), xdpPass, "other_port")
	}
	mustDo(t, d.SetPorts(nil))
	wantExit(t, d, at(25), xdpPass, "other_port")
}

func TestLimitAcceptsItsRate(t *testing.T) {
	for _, c := range []struct {
		name    string
		every   time.Duration
		burst   int
		offered float64 // times the rate
	}{
		{"6 a minute", 10 * time.Second, 1, 40},
		{"6 a minute, burst 20", 10 * time.Second, 20, 2},
		{"1 a second, burst 5", time.Second, 5, 10},
		{"100 a second, burst 10", 10 * time.Millisecond, 10, 1.2},
		{"10,000 a second, burst 100", 100 * time.Microsecond, 100, 3},
		{"1 a day", 24 * time.Hour, 1, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mustSimulate(t, testOptions(t))
			random := rand.New(rand.NewPCG(1, 2))
			for _, source := range []Entry{
				{Prefix: prefix("192.0.2.7/32")},
				{Prefix: prefix("2001:db8::/32")},
			} {
				source.Action, source.Every, source.Burst = ActionLimit, c.every, c.burst
				mustDo(t, s.Put(source))
				frame := syn4("192.0.2.7")
				if source.Prefix.Addr().Is6() {
					frame = syn6("2001:db8:7::1")
				}
				// Openings as a Poisson process, for a thousand intervals.
				// Without a burst there must be many: what comes late is lost.
				begin, accepted := s.now, 0
				for s.now-begin < 1000*uint64(c.every) {
					s.advance(time.Duration(random.ExpFloat64() * float64(c.every) / c.offered))
					if run(t, s.Datapath, frame) == xdpPass {
						accepted++
					}
				}
				want := float64(s.now-begin)/float64(c.every) + float64(c.burst-1)
				if math.Abs(float64(accepted)/want-1) > 0.05 {
					t.Errorf("%s: accepted %d openings, want %.0f ± 5 %%", source.Prefix, accepted, want)
				}
			}
		})
	}
}

func TestLimitBurst(t *testing.T) {
	s := mustSimulate(t, testOptions(t))
	mustDo(t, s.Put(Entry{Prefix: prefix("192.0.2.7/32"), Action: ActionLimit, Every: time.Minute, Burst: 5}))
	takes := func(want int) {
		t.Helper()
		got := 0
		for run(t, s.Datapath, syn4("192.0.2.7")) == xdpPass {
			got++
		}
		if got != want {
			t.Errorf("%d openings at once, want %d", got, want)
		}
	}
	takes(5)
	s.advance(time.Minute)
	takes(1)
	s.advance(3*time.Minute - 1)
	takes(2)
	s.advance(1)
	takes(1)
	s.advance(24 * time.Hour)
	takes(5)

	// The bucket goes on when the entry is prolonged, and starts anew with
	// another rate.
	mustDo(t, s.Put(Entry{Prefix: prefix("192.0.2.7/32"), Action: ActionLimit, Every: time.Minute, Burst: 5, Expires: s.wall().Add(time.Hour)}))
	takes(0)
	mustDo(t, s.Put(Entry{Prefix: prefix("192.0.2.7/32"), Action: ActionLimit, Every: time.Minute, Burst: 3}))
	takes(3)
	if e, _, _ := s.Get(prefix("192.0.2.7/32")); e.Attempts == 0 || e.Dropped == 0 || e.Every != time.Minute || e.Burst != 3 {
		t.Errorf("entry after new rate: %+v", e)
	}
}

func TestInvalidEntries(t *testing.T) {
	d := mustOpen(t, testOptions(t))
	good := Entry{Prefix: prefix("192.0.2.1/32"), Action: ActionDrop}
	for name, bad := range map[string]Entry{
		"no prefix":      {Action: ActionDrop},
		"no action":      {Prefix: prefix("192.0.2.2/32")},
		"unknown action": {Prefix: prefix("192.0.2.2/32"), Action: 9},
		"narrow IPv6":    {Prefix: prefix("2001:db8::/65"), Action: ActionDrop},
		"IPv6 address":   {Prefix: prefix("2001:db8::1/128"), Action: ActionDrop},
		"mapped":         {Prefix: prefix("::ffff:192.0.2.0/120"), Action: ActionDrop},
		"no rate":        {Prefix: prefix("192.0.2.2/32"), Action: ActionLimit, Burst: 1},
		"no burst":       {Prefix: prefix("192.0.2.2/32"), Action: ActionLimit, Every: time.Second},
		"burst overflow": {Prefix: prefix("192.0.2.2/32"), Action: ActionLimit, Every: time.Hour, Burst: math.MaxInt},
	} {
		t.Run(name, func(t *testing.T) {
			if err := d.Put(good, bad); !errors.Is(err, ErrInvalidEntry) {
				t.Errorf("Put: %v, want ErrInvalidEntry", err)
			}
			if _, found, _ := d.Get(good.Prefix); found {
				t.Error("the valid entry beside it was put")
			}
		})
	}
	if err := d.Delete(prefix("2001:db8::/65")); !errors.Is(err, ErrInvalidEntry) {
		t.Errorf("Delete: %v, want ErrInvalidEntry", err)
	}
}
