package loader

import (
	"math"
	"testing"

	"github.com/cilium/ebpf"
)

// Within a tick the first packets are counted each, and of many that follow
// as many as there were, give or take six standard errors.
func TestCountsOfAFlood(t *testing.T) {
	s := mustSimulate(t, testOptions(t))
	mustDo(t, s.Put(Entry{Prefix: prefix("192.0.2.1/32"), Action: ActionDrop}, Entry{Prefix: prefix("2001:db8:1:2::/64"), Action: ActionDrop}))
	for _, c := range []struct {
		source string
		frame  []byte
	}{{"192.0.2.1/32", syn4("192.0.2.1")}, {"2001:db8:1:2::/64", syn6("2001:db8:1:2::1")}} {
		// The exits are counted exactly: what there was.
		before := must(s.Counters())
		check := func(exact bool) {
			t.Helper()
			var there float64
			for i, n := range must(s.Counters()) {
				if n.Name == "dropped" {
					there = float64(n.Packets - before[i].Packets)
				}
			}
			e, _, err := s.Get(prefix(c.source))
			mustDo(t, err)
			most := 6 * math.Sqrt(31*there)
			if exact {
				most = 0
			}
			if off := math.Abs(float64(e.Dropped) - there); off > most || e.Attempts != e.Dropped {
				t.Errorf("%s: %d openings and %d dropped counted of %.0f", c.source, e.Attempts, e.Dropped, there)
			}
		}
		for range 3 {
			s.advance(1) // another tick
			for range 64 {
				run(t, s.Datapath, c.frame)
			}
			check(true)
		}
		_, err := s.objects.WeirXdp.Run(&ebpf.RunOptions{Data: c.frame, Repeat: 20_000})
		mustDo(t, err)
		check(false)
	}
}
