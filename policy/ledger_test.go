package policy

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// ledgerModel is the ledger by its doc comment alone: it holds what was said
// and works out everything anew.
type ledgerModel struct {
	allow     map[netip.Prefix]bool
	pins      map[netip.Prefix]Decision
	automatic map[netip.Prefix]Decision
}

// verdict returns what should happen to addr.
func (m *ledgerModel) verdict(addr netip.Addr) *Decision {
	for p := range m.allow {
		if p.Contains(addr) {
			return &Decision{Action: Allow}
		}
	}
	for p, d := range m.pins {
		if p.Contains(addr) && d.Action == Allow {
			return &Decision{Action: Allow}
		}
	}
	var best *Decision
	longer := func(d Decision) {
		if d.Prefix.Contains(addr) && (best == nil || d.Prefix.Bits() > best.Prefix.Bits()) {
			best = &d
		}
	}
	for _, d := range m.pins {
		longer(d)
	}
	for p, d := range m.automatic {
		if _, pinned := m.pins[p]; pinned {
			continue
		}
		around := Decision{}
		for q, pin := range m.pins {
			if q.Contains(p.Addr()) && q.Bits() < p.Bits() && (around.Action == 0 || q.Bits() > around.Prefix.Bits()) {
				around = pin
			}
		}
		if severity(d.Action) > severity(around.Action) || d.Action == around.Action && d.Action != Limit {
			longer(d)
		}
	}
	return best
}

// kernel answers as the datapath does: the source exactly, then the longest
// prefix.
func kernel(inForce map[netip.Prefix]*Decision, addr netip.Addr) *Decision {
	if d := inForce[SourceOf(addr).Prefix()]; d != nil {
		return d
	}
	var best *Decision
	for p, d := range inForce {
		if p.Contains(addr) && (best == nil || p.Bits() > best.Prefix.Bits()) {
			best = d
		}
	}
	return best
}

func randomPrefix(rng *rand.Rand) netip.Prefix {
	if rng.IntN(4) == 0 {
		addr := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 7: byte(rng.IntN(8)), 15: byte(rng.IntN(3))})
		return netip.PrefixFrom(addr, []int{56, 61, 62, 63, 64, 64, 128}[rng.IntN(7)])
	}
	addr := netip.AddrFrom4([4]byte{203, 0, 113, byte(rng.IntN(16))})
	return netip.PrefixFrom(addr, []int{24, 28, 29, 30, 31, 32, 32, 32}[rng.IntN(8)])
}

func TestLedgerAgainstModel(t *testing.T) {
	var addrs []netip.Addr
	for i := range 20 {
		addrs = append(addrs, netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))
		addrs = append(addrs, netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 7: byte(i), 15: 9}))
	}
	for seed := range uint64(15) {
		rng := rand.New(rand.NewPCG(seed, 2))
		l := NewLedger()
		m := &ledgerModel{allow: map[netip.Prefix]bool{}, pins: map[netip.Prefix]Decision{}, automatic: map[netip.Prefix]Decision{}}
		applied := map[netip.Prefix]*Decision{}
		now := time.Unix(1_700_000_000, 0)
		for step := range 300 {
			changes := randomOperation(t, rng, l, m, &now)
			apply(t, applied, changes)
			fresh := map[netip.Prefix]*Decision{}
			last := netip.Prefix{}
			for d := range l.InForce() {
				if last.IsValid() && last.Compare(d.Prefix) >= 0 {
					t.Fatalf("InForce out of order: %s after %s", d.Prefix, last)
				}
				last, fresh[d.Prefix] = d.Prefix, d
			}
			if got, want := l.Tally(), countAll(l); got != want {
				t.Fatalf("seed %d, step %d: it tells of %+v, holds %+v", seed, step, got, want)
			}
			if !maps.EqualFunc(applied, fresh, sameEffect) {
				t.Fatalf("seed %d, step %d: changes give %v, in force is %v", seed, step, applied, fresh)
			}
			for _, addr := range addrs {
				want, got := m.verdict(addr), kernel(fresh, addr)
				if (want == nil) != (got == nil) || want != nil && (want.Action != got.Action || want.Action != Allow && !sameEffect(want, got)) {
					t.Fatalf("seed %d, step %d: %s gets %+v, want %+v", seed, step, addr, got, want)
				}
				checkLookup(t, l, addr, got)
			}
		}
	}
}

// countAll is Tally, counted anew.
func countAll(l *Ledger) (t Tally) {
	for d := range l.All() {
		t.add(d, 1)
	}
	for d := range l.InForce() {
		t.addInForce(d, 1)
	}
	return t
}

// apply brings a table up to date and checks that changes are minimal.
func apply(t *testing.T, table map[netip.Prefix]*Decision, changes []Change) {
	t.Helper()
	named := map[netip.Prefix]bool{}
	for _, c := range changes {
		if named[c.Prefix] {
			t.Fatalf("%s changes twice", c.Prefix)
		}
		named[c.Prefix] = true
		if sameEffect(table[c.Prefix], c.Decision) {
			t.Fatalf("%s changes to what it was: %+v", c.Prefix, c.Decision)
		}
		if c.Decision == nil {
			delete(table, c.Prefix)
		} else {
			table[c.Prefix] = c.Decision
		}
	}
}

func checkLookup(t *testing.T, l *Ledger, addr netip.Addr, winner *Decision) {
	t.Helper()
	var won *Decision
	for _, c := range l.LookupPrefix(netip.PrefixFrom(addr, addr.BitLen())) {
		if c.Why == "" {
			t.Fatalf("%s: %+v without a why", addr, c)
		}
		if c.Wins {
			if won != nil {
				t.Fatalf("%s: two win", addr)
			}
			won = c.Decision
		}
	}
	if won != winner {
		t.Fatalf("%s: lookup says %+v, the table %+v", addr, won, winner)
	}
}

func randomOperation(t *testing.T, rng *rand.Rand, l *Ledger, m *ledgerModel, now *time.Time) []Change {
	t.Helper()
	switch rng.IntN(8) {
	case 0:
		var list []netip.Prefix
		clear(m.allow)
		for range rng.IntN(3) {
			p := randomPrefix(rng)
			list = append(list, p)
			m.allow[JudgedPrefix(p)] = true
		}
		return l.SetAllow(list)
	case 1:
		target := Target{Prefix: randomPrefix(rng)}
		pins, automatic := rng.IntN(2) == 0, rng.IntN(2) == 0
		_, changes := l.Remove(target, pins, automatic)
		if pins {
			delete(m.pins, JudgedPrefix(target.Prefix))
		}
		if automatic {
			delete(m.automatic, JudgedPrefix(target.Prefix))
		}
		return changes
	case 2:
		*now = now.Add(time.Duration(rng.IntN(60)) * time.Second)
		ended, changes := l.Expire(*now)
		n := len(m.pins) + len(m.automatic)
		over := func(_ netip.Prefix, d Decision) bool { return d.Ended(*now) }
		maps.DeleteFunc(m.pins, over)
		maps.DeleteFunc(m.automatic, over)
		if n -= len(m.pins) + len(m.automatic); n != len(ended) {
			t.Fatalf("%d ended, want %d", len(ended), n)
		}
		if !slices.IsSortedFunc(ended, func(a, b Decision) int { return a.Until.Compare(b.Until) }) {
			t.Fatalf("ended out of order: %+v", ended)
		}
		return changes
	}
	batch := make([]Decision, 1+rng.IntN(4))
	for i := range batch {
		d := &batch[i]
		d.Prefix = randomPrefix(rng)
		d.Pinned = rng.IntN(2) == 0
		d.Action = []Action{Limit, Tarpit, Drop}[rng.IntN(3)]
		if d.Pinned && rng.IntN(4) == 0 {
			d.Action = Allow
		}
		if !d.Pinned || rng.IntN(2) == 0 {
			d.Until = now.Add(time.Duration(rng.IntN(200)-5) * time.Second)
		}
		model := *d
		model.Prefix = JudgedPrefix(d.Prefix)
		switch {
		case d.Ended(*now):
		case d.Pinned:
			m.pins[model.Prefix] = model
		default:
			m.automatic[model.Prefix] = model
		}
	}
	return l.Put(*now, batch...)
}

func TestLedgerUsers(t *testing.T) {
	l := NewLedger()
	now := time.Unix(1_700_000_000, 0)
	changes := l.Put(now,
		Decision{Target: Target{User: "bob"}, Action: Guard, Until: now.Add(time.Hour)},
		Decision{Target: Target{User: "alice"}, Action: Guard, Until: now.Add(time.Minute)},
		Decision{Target: Target{Prefix: netip.MustParsePrefix("203.0.113.5/32")}, Action: Drop, Until: now.Add(2 * time.Minute)})
	if len(changes) != 1 {
		t.Errorf("changes %v, want that of the source alone", changes)
	}
	var all []string
	for d := range l.All() {
		all = append(all, d.Target.String())
	}
	if got := strings.Join(all, " "); got != "203.0.113.5 alice bob" {
		t.Errorf("All gives %s", got)
	}
	ended, _ := l.Expire(now.Add(time.Minute))
	if len(ended) != 1 || ended[0].User != "alice" {
		t.Errorf("ended %v, want alice", ended)
	}
	if _, automatic := l.Get(Target{User: "alice"}); automatic != nil {
		t.Error("alice is still there")
	}
}

func TestLedgerLookupTellsWhy(t *testing.T) {
	l := NewLedger()
	now := time.Unix(1_700_000_000, 0)
	l.SetAllow([]netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")})
	pin := func(prefix string, a Action) {
		l.Put(now, Decision{Target: Target{Prefix: netip.MustParsePrefix(prefix)}, Action: a, Pinned: true})
	}
	rule := func(prefix string, a Action) {
		l.Put(now, Decision{Target: Target{Prefix: netip.MustParsePrefix(prefix)}, Action: a, Until: now.Add(time.Hour)})
	}
	pin("10.0.0.0/8", Drop)
	rule("10.1.2.3/32", Drop)
	rule("10.2.2.2/32", Limit)
	rule("10.3.3.3/32", Drop)
	pin("10.3.3.3/32", Limit)
	tests := []struct{ addr, want string }{
		{"10.1.2.3", "10.1.2.3 drop: the configuration's allow of 10.1.0.0/16 silences it\n" +
			"10.1.0.0/16 allow, wins: allow always wins\n" +
			"10.0.0.0/8 drop: a longer prefix decides\n"},
		{"10.2.2.2", "10.2.2.2 limit: the pin to drop 10.0.0.0/8 silences it\n" +
			"10.0.0.0/8 drop, wins: the pin on the longest prefix\n"},
		{"10.3.3.3", "10.3.3.3 limit, wins: the pin on the longest prefix\n" +
			"10.3.3.3 drop: the pin to limit 10.3.3.3 comes before it\n" +
			"10.0.0.0/8 drop: a longer prefix decides\n"},
		{"192.0.2.1", ""},
	}
	for _, tt := range tests {
		var got strings.Builder
		addr := netip.MustParseAddr(tt.addr)
		for _, c := range l.LookupPrefix(netip.PrefixFrom(addr, addr.BitLen())) {
			wins := ""
			if c.Wins {
				wins = ", wins"
			}
			fmt.Fprintf(&got, "%s %s%s: %s\n", c.Decision.Target, c.Decision.Action, wins, c.Why)
		}
		if got.String() != tt.want {
			t.Errorf("%s:\ngot\n%swant\n%s", tt.addr, got.String(), tt.want)
		}
	}
}

// TestWidePinKeepsWhatIsAsHarsh lays a drop over a net in which sources stand
// already: nothing is taken away that would be missing when the pin ends.
func TestWidePinKeepsWhatIsAsHarsh(t *testing.T) {
	l := NewLedger()
	now := time.Unix(1_700_000_000, 0)
	source := func(prefix string, a Action) Decision {
		return Decision{Target: Target{Prefix: netip.MustParsePrefix(prefix)}, Action: a, Until: now.Add(2 * time.Hour)}
	}
	l.Put(now, source("203.0.113.1/32", Drop), source("203.0.113.2/32", Tarpit), source("203.0.113.3/32", Limit))
	wide := source("203.0.113.0/24", Drop)
	wide.Pinned, wide.Until = true, now.Add(time.Hour)
	told := func(changes []Change) (out string) {
		for _, c := range changes {
			action := "nothing"
			if c.Decision != nil {
				action = c.Decision.Action.String()
			}
			out += PrefixString(c.Prefix) + " " + action + "\n"
		}
		return out
	}
	if got, want := told(l.Put(now, wide)), "203.0.113.0/24 drop\n203.0.113.2 nothing\n203.0.113.3 nothing\n"; got != want {
		t.Errorf("pinned:\n%swant\n%s", got, want)
	}
	if _, changes := l.Expire(wide.Until); told(changes) != "203.0.113.0/24 nothing\n203.0.113.2 tarpit\n203.0.113.3 limit\n" {
		t.Errorf("ended:\n%s", told(changes))
	}
}

// TestExpiryForgetsReplaced holds the heap to the size of what stands.
func TestExpiryForgetsReplaced(t *testing.T) {
	l := NewLedger()
	now := time.Unix(1_700_000_000, 0)
	for i := range 100_000 {
		l.Put(now, Decision{Target: Target{Prefix: netip.MustParsePrefix("192.0.2.1/32")}, Action: Drop, Until: now.Add(time.Duration(i+1) * time.Second)})
	}
	if n := len(l.expiry.items); n > 4096 {
		t.Errorf("%d items for one decision", n)
	}
	// What never ends comes after all that does.
	endless := Target{Prefix: netip.MustParsePrefix("192.0.2.0/25")}
	for range 10_000 {
		l.Put(now, Decision{Target: endless, Action: Drop, Pinned: true})
	}
	ended, _ := l.Expire(now.Add(1000 * time.Hour))
	if pin, _ := l.Get(endless); len(ended) != 1 || pin == nil || len(l.expiry.items) > 4096 {
		t.Errorf("%d ended, %v stands, %d items", len(ended), pin, len(l.expiry.items))
	}
}

func BenchmarkLedgerPutMillion(b *testing.B) {
	const n = 1_000_000
	pins := make([]Decision, n)
	for i, at := range rand.New(rand.NewPCG(1, 1)).Perm(1 << 24)[:n] {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 0x0b000000+uint32(at))
		pins[i] = Decision{Target: Target{Prefix: netip.PrefixFrom(netip.AddrFrom4(a), 32)}, Action: Drop, Pinned: true, Reason: "feed", By: "root"}
	}
	now := time.Unix(1_700_000_000, 0)
	for b.Loop() {
		b.StopTimer()
		before := heapBytes()
		l := NewLedger()
		b.StartTimer()
		if changes := l.Put(now, pins...); len(changes) != n {
			b.Fatal(len(changes))
		}
		b.StopTimer()
		b.ReportMetric(float64(heapBytes()-before)/n, "B/pin")
		runtime.KeepAlive(l)
		b.StartTimer()
	}
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
