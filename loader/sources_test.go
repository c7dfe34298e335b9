package loader

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// crowded returns n sources of each family that fall into a few buckets, and two
// of three into one group of the set, so that most of them find no room.
func crowded(d *Datapath, n int) (all []netip.Prefix) {
	rng := rand.New(rand.NewPCG(7, 7))
	const buckets = 3
	for len(all) < n {
		hash := uint64(rng.Uint32()) << 32
		if len(all)%3 > 0 {
			hash = uint64(rng.Uint32()) / uint64(d.marks4.form.homes/homes) << 32
		}
		p := prefixOfSource4(sourceOf[datapathSource4](unhash4(d.verdicts4, hash)))
		if d.verdicts4.bucket(keyOf(keyOfSource4(p))) < buckets {
			all = append(all, p)
		}
	}
	for len(all) < 2*n {
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], 0x2001<<48|rng.Uint64()>>16)
		p := netip.PrefixFrom(netip.AddrFrom16(b), 64)
		key := keyOf(keyOfSource6(p))
		if len(all)%3 == 0 && d.verdicts6.bucket(key) < buckets || d.marks6.name(d.verdicts6.hash(key)).home < homes {
			all = append(all, p)
		}
	}
	return all
}

// unhash4 is the reverse of hash.
func unhash4(v *verdicts, hash uint64) uint64 {
	inverse := func(odd uint32) uint32 {
		x := odd // right in three bits, then in twice as many each time
		for range 4 {
			x *= 2 - odd*x
		}
		return x
	}
	addr := uint32(hash>>32) * inverse(uint32(v.factor>>32)|1)
	addr ^= addr >> 16
	return uint64(addr * inverse(uint32(v.factor)))
}

func synFrom(p netip.Prefix) []byte {
	if p.Addr().Is4() {
		return syn4(p.Addr().String())
	}
	return syn6(p.Addr().Next().String())
}

// checkSources holds a family's parts to what they say of each other.
func checkSources[K source](t *testing.T, s *sources[K]) {
	t.Helper()
	v, used := s.verdicts, 0
	inHash := map[uint64]bool{}
	for row, err := range s.hash.all() {
		mustDo(t, err)
		key := keyOf(row.key)
		inHash[key] = true
		used++
		at, free := v.find(key)
		switch {
		case at >= 0 && v.word(at) != elsewhere:
			t.Errorf("%s: %x stands in a slot and in the hash", s.name, key)
		case at < 0 && (free >= 0 || !s.isOutside(row.key)):
			t.Errorf("%s: %x stands outside, unknown or though there is room", s.name, key)
		}
	}
	checkMarks(t, s)
	for bucket, word := range v.sieve {
		if s.resift(bucket); v.sieve[bucket] != word {
			t.Errorf("%s: bucket %d has the sieve %x, want %x", s.name, bucket, word, v.sieve[bucket])
		}
	}
	for at := range s.slots() {
		if v.word(at) != elsewhere {
			used++
		} else if !inHash[v.key(at)] {
			t.Errorf("%s: a slot points to %x, which is not there", s.name, v.key(at))
		}
	}
	if used != s.used {
		t.Errorf("%s: %d used, counted %d", s.name, used, s.used)
	}
}

// Whatever comes and goes, expires or moves between slots and hash, and
// whoever opens the tables again: they say what a plain map says.
func TestSourcesModel(t *testing.T) {
	o := testOptions(t)
	s := mustSimulate(t, o)
	rng := rand.New(rand.NewPCG(1, 4))
	candidates := crowded(s.Datapath, 30)
	model := map[netip.Prefix]Entry{}
	for step := range steps(6000) {
		p := candidates[rng.IntN(len(candidates))]
		switch rng.IntN(20) {
		case 0, 1, 2, 3, 4, 5:
			e := Entry{Prefix: p, Action: []Action{ActionDrop, ActionDrop, ActionAllow, ActionLimit}[rng.IntN(4)]}
			if e.Action == ActionLimit {
				e.Every, e.Burst = time.Hour, 1+rng.IntN(3)
			}
			if rng.IntN(2) == 0 {
				e.Expires = s.wall().Add(time.Duration(rng.IntN(60)) * time.Second)
			}
			mustDo(t, s.Put(e))
			e.Attempts, e.Dropped = model[p].Attempts, model[p].Dropped
			model[p] = e
		case 6, 7, 8:
			mustDo(t, s.Delete(p))
			delete(model, p)
		case 9:
			s.advance(time.Duration(rng.IntN(3000)) * time.Millisecond)
		case 10:
			if step%7 == 0 {
				mustDo(t, s.Close())
				s.open(o)
			}
		default:
			s.advance(time.Millisecond) // another tick: counts are exact
			verdict, exit := exitOf(t, s.Datapath, synFrom(p))
			e, known := model[p]
			if late := s.wall().Sub(e.Expires); known && !e.Expires.IsZero() && late > -time.Millisecond {
				if late < endUnit+time.Millisecond {
					mustDo(t, s.Delete(p)) // just ending
					delete(model, p)
					continue
				}
				known = false
			}
			want := "unflagged"
			if known {
				want = map[Action]string{ActionDrop: "dropped", ActionAllow: "allowed", ActionLimit: exit}[e.Action]
				e.Attempts++
				if verdict == xdpDrop {
					e.Dropped++
				}
				model[p] = e
			}
			if exit != want || known && e.Action == ActionLimit && exit != "within_limit" && exit != "over_limit" {
				t.Fatalf("step %d: %s: %s, want %s (%+v)", step, p, exit, want, e)
			}
		}
		if step%50 != 0 {
			continue
		}
		all := collect(t, s.Datapath)
		for p, e := range model {
			if !sameEntry(all[p], e) {
				t.Fatalf("step %d: %+v, want %+v", step, all[p], e)
			}
			if got, found, err := s.Get(p); err != nil || !found || !sameEntry(got, e) {
				t.Fatalf("step %d: Get: %+v, %t, %v, want %+v", step, got, found, err, e)
			}
		}
		if len(all) != len(model) {
			t.Fatalf("step %d: %d entries, want %d", step, len(all), len(model))
		}
		checkSources(t, s.sources4)
		checkSources(t, s.sources6)
		if t.Failed() {
			t.FailNow()
		}
	}
}

// Whoever asks too late is told so.
func TestClosedTables(t *testing.T) {
	d := mustOpen(t, testOptions(t))
	p := prefix("192.0.2.1/32")
	mustDo(t, d.Put(Entry{Prefix: p, Action: ActionDrop}))
	mustDo(t, d.Close())
	_, _, err := d.Get(p)
	_, fillErr := d.Fill()
	for i, err := range []error{err, fillErr, d.Put(Entry{Prefix: p, Action: ActionDrop}), d.Delete(p)} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%d: %v", i, err)
		}
	}
	for _, err := range d.Entries() {
		if !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	}
}

// While sources come and go in their buckets, the ones that stay are dropped,
// every packet, and every packet is counted.
func TestSourcesWhileChanging(t *testing.T) {
	d := mustOpen(t, testOptions(t))
	candidates := crowded(d, 24)
	var staying, passing []netip.Prefix
	var frames [][]byte
	for i, p := range candidates {
		if i%4 == 0 {
			staying, frames = append(staying, p), append(frames, synFrom(p))
			mustDo(t, d.Put(Entry{Prefix: p, Action: ActionDrop}))
		} else {
			passing = append(passing, p)
		}
	}
	const rounds = 20_000
	var running atomic.Int32
	var packets sync.WaitGroup
	seen := make([]uint64, len(staying))
	for half := range 2 {
		running.Add(1)
		packets.Go(func() {
			defer running.Add(-1)
			for range rounds {
				for i := half; i < len(staying); i += 2 {
					verdict, err := d.objects.WeirXdp.Run(&ebpf.RunOptions{Data: frames[i]})
					if err != nil || verdict != xdpDrop {
						t.Errorf("%s: verdict %d, %v", staying[i], verdict, err)
						return
					}
					seen[i]++
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(3, 3))
	for running.Load() > 0 {
		p := passing[rng.IntN(len(passing))]
		switch rng.IntN(4) {
		case 0:
			mustDo(t, d.Put(Entry{Prefix: p, Action: ActionDrop}))
		case 1:
			mustDo(t, d.Put(Entry{Prefix: p, Action: ActionLimit, Every: time.Second, Burst: 1}))
		default:
			mustDo(t, d.Delete(p))
		}
	}
	packets.Wait()
	for i, p := range staying {
		// A packet that meets a source on its way between slot and hash may
		// be counted for nobody, or for who has its slot next. And with so
		// many at once most are drawn: six standard errors.
		e, _, err := d.Get(p)
		most := seen[i]/100 + uint64(6*math.Sqrt(float64(31*seen[i])))
		if off := max(e.Dropped, seen[i]) - min(e.Dropped, seen[i]); err != nil || off > most {
			t.Errorf("%s: %d counted of %d (%v)", p, e.Dropped, seen[i], err)
		}
	}
}
