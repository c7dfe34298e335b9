package policy

import (
	"net/netip"
	"slices"
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

// TestNeighboursOfPeople: a decision on a net lasts longer each time, but not
// where somebody succeeds: whoever gets an address there tomorrow is another.
func TestNeighboursOfPeople(t *testing.T) {
	for _, people := range []bool{false, true} {
		s := newDefaultStory(t)
		s.settle()
		var lasts []time.Duration
		for round := range 3 {
			at := time.Duration(round) * 5 * day
			if people {
				s.tell(at, AuthSuccess, "203.0.113.130", "user1@example.org", 0)
			}
			for i := range 12 {
				for _, d := range s.tell(at+time.Duration(i+1)*time.Minute, AuthFailure, address("203.0.113.0", 10+i*2), "x"+strconv.Itoa(i), 0) {
					if d.Rule == "bad-neighbourhood" && d.Action == Drop && d.Offence == len(lasts)+1 {
						lasts = append(lasts, d.Until.Sub(d.Since))
					}
				}
			}
		}
		want := []time.Duration{12 * time.Hour, 48 * time.Hour, 8 * day}
		if people {
			want = []time.Duration{12 * time.Hour, 12 * time.Hour, 12 * time.Hour}
		}
		if !slices.Equal(lasts, want) {
			t.Errorf("with people %t: decisions of %s, want %s", people, lasts, want)
		}
	}
}

// TestNeighboursAreSplit: a decision on a net leaves out the part in which
// somebody succeeds, and grows with what misbehaves.
func TestNeighboursAreSplit(t *testing.T) {
	s := newDefaultStory(t)
	s.settle()
	s.tell(0, AuthSuccess, "203.0.113.130", "user1@example.org", 0)
	s.tell(13*time.Hour, AuthSuccess, "203.0.113.130", "user1@example.org", 0)
	for i := range 16 {
		s.tell(14*time.Hour+time.Duration(i)*time.Minute, AuthFailure, address("203.0.113.0", 20+i*14), "x"+strconv.Itoa(i), 0)
	}
	var parts []string
	for _, d := range s.out {
		if d.Rule == "bad-neighbourhood" {
			parts = append(parts, d.Prefix.String())
		}
		if d.User == "" && d.Prefix.Contains(netip.MustParseAddr("203.0.113.130")) {
			t.Errorf("the good neighbour is in %s: %s", d.Prefix, d.Reason)
		}
	}
	if len(parts) == 0 {
		t.Error("nothing was widened")
	}
	t.Log(parts)
}
