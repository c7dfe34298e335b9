package policy

import (
	"net/netip"
	"strconv"
	"testing"
	"time"
)

// TestNeighboursGrow: a net is flagged part by part as its sources fail, and in
// the end one decision stands, which tells of all that counted.
func TestNeighboursGrow(t *testing.T) {
	for _, to := range []struct {
		name    string
		address func(i int) string
		whole   string
	}{
		{"IPv4", func(i int) string { return address("203.0.113.0", 1+i*3) }, "203.0.113.0/24"},
		{"IPv6", func(i int) string {
			return netip.MustParseAddr("2001:db8:7:" + strconv.FormatInt(int64(i)<<10, 16) + "::1").String()
		}, "2001:db8:7::/48"},
	} {
		t.Run(to.name, func(t *testing.T) {
			s := newDefaultStory(t)
			ledger := NewLedger()
			made := 0
			for i := range 60 {
				before := len(s.out)
				s.tell(time.Duration(i)*time.Minute, AuthFailure, to.address(i), "x"+strconv.Itoa(i), 0)
				for _, d := range s.out[before:] {
					if d.Rule != "bad-neighbourhood" {
						continue
					}
					ledger.Put(d.Since, d)
					if d.Action == Release {
						continue
					}
					made++
					if ev := d.Evidence; ev.Count < 5 || len(ev.Sample) != ev.Count || ev.LastLine != ev.Sample[ev.Count-1].Line {
						t.Errorf("%s: evidence %+v", d.Target, ev)
					}
					seen := map[netip.Addr]bool{}
					for _, o := range d.Evidence.Sample {
						if seen[o.Source] || o.Kind != AuthFailure || !netip.MustParsePrefix(to.whole).Contains(o.Source) {
							t.Errorf("%s: sample %+v", d.Target, o)
						}
						seen[o.Source] = true
					}
				}
			}
			if made < 3 {
				t.Errorf("%d decisions: the net did not grow", made)
			}
			stand := 0
			for d := range ledger.All() {
				if stand++; d.Prefix.String() != to.whole {
					t.Errorf("%s still stands", d.Target)
				}
			}
			if stand != 1 {
				t.Errorf("%d decisions stand", stand)
			}
		})
	}
}
