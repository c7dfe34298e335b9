package loader

import (
	"encoding/binary"
	"math"
	"net/netip"
	"testing"
	"time"
)

func TestCeiling(t *testing.T) {
	o := testOptions(t)
	o.Ceiling = Ceiling{Every: 100 * time.Millisecond, Burst: 20, Ports: []uint16{587, 993}}
	s := mustSimulate(t, o)
	mustDo(t, s.Put(
		Entry{Prefix: prefix("192.0.2.9/32"), Action: ActionAllow},
		Entry{Prefix: prefix("198.51.100.0/24"), Action: ActionAllow},
		Entry{Prefix: prefix("192.0.2.10/32"), Action: ActionLimit, Every: time.Millisecond, Burst: 1000},
		Entry{Prefix: prefix("192.0.2.11/32"), Action: ActionDrop},
	))
	at := func(src string, port uint16, flags byte) []byte {
		h := tcp{port: port, flags: flags}.bytes()
		if netip.MustParseAddr(src).Is4() {
			return ip4{src: src}.wrap(h)
		}
		return ip6{src: src}.wrap(h)
	}
	const attempts = 50
	for _, c := range []struct {
		name   string
		frame  []byte
		passes int
		exit   string // of those that do not pass, or else of all
	}{
		{"a source", at("192.0.2.1", 587, flagSYN), 20, "over_ceiling"},
		{"IPv6", at("2001:db8:1:2::1", 587, flagSYN), 20, "over_ceiling"},
		{"the same /64", at("2001:db8:1:2::2", 587, flagSYN), 0, "over_ceiling"},
		{"another /64", at("2001:db8:1:3::1", 587, flagSYN), 20, "over_ceiling"},
		{"what is no opening", at("192.0.2.1", 587, flagACK), attempts, "unflagged"},
		{"a port without ceiling", at("192.0.2.1", 25, flagSYN), attempts, "unflagged"},
		{"a port that is not protected", at("192.0.2.1", 993, flagSYN), attempts, "other_port"},
		{"an allowed source", at("192.0.2.9", 587, flagSYN), attempts, "allowed"},
		{"an allowed prefix", at("198.51.100.9", 587, flagSYN), attempts, "allowed"},
		{"a limit of its own", at("192.0.2.10", 587, flagSYN), attempts, "within_limit"},
		{"a dropped source", at("192.0.2.11", 587, flagSYN), 0, "dropped"},
	} {
		t.Run(c.name, func(t *testing.T) {
			passed := 0
			for range attempts {
				verdict, exit := exitOf(t, s.Datapath, c.frame)
				if verdict == xdpPass {
					passed++
				} else if exit != c.exit {
					t.Fatalf("not passed as %s, want %s", exit, c.exit)
				}
			}
			if passed != c.passes {
				t.Errorf("%d of %d pass, want %d", passed, attempts, c.passes)
			}
		})
	}

	// In the long run, the rate; the others do not matter to it.
	accepted, began := 0, s.now
	for s.now-began < uint64(100*time.Second) {
		s.advance(7 * time.Millisecond)
		if run(t, s.Datapath, at("192.0.2.1", 587, flagSYN)) == xdpPass {
			accepted++
		}
	}
	if math.Abs(float64(accepted)-1000) > 50 {
		t.Errorf("%d openings in 100 s, want 10 a second", accepted)
	}

	mustDo(t, s.SetCeiling(Ceiling{}))
	for range attempts {
		wantExit(t, s.Datapath, at("192.0.2.1", 587, flagSYN), xdpPass, "unflagged")
	}
	if err := s.SetCeiling(Ceiling{Every: time.Second}); err == nil {
		t.Error("a ceiling without a burst is taken")
	}
}

// A flood of sources that come once does not make the program forget one that
// comes again and again, and leaves nothing behind.
func TestCeilingUnderForgedSources(t *testing.T) {
	o := testOptions(t)
	o.Ceiling = Ceiling{Every: time.Minute, Burst: 20, Ports: []uint16{25}}
	s := mustSimulate(t, o)
	steady, forged := syn4("192.0.2.1"), syn4("198.18.0.0")
	flood := func(from, to uint32, every uint32) (passed int) {
		for n := from; n < to; n++ {
			binary.BigEndian.PutUint32(forged[26:], 198<<24|18<<16+n)
			if run(t, s.Datapath, forged) != xdpPass {
				t.Fatalf("forged source %d does not pass", n)
			}
			if n%every == 0 && run(t, s.Datapath, steady) == xdpPass {
				passed++
			}
		}
		return passed
	}
	if n := flood(0, 200_000, 100); n != 20 {
		t.Errorf("%d openings pass, want 20", n)
	}
	s.advance(time.Minute)
	if n := flood(200_000, 300_000, 100); n != 1 {
		t.Errorf("%d openings pass a minute later, want 1", n)
	}
	// The program's clock comes round, more than once.
	for range 5 {
		s.advance(50 * time.Hour)
		if n := flood(0, 100, 1); n != 20 {
			t.Errorf("%d openings pass days later, want 20", n)
		}
	}
}
