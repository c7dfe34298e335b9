package loader

import (
	"errors"
	"math/bits"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
)

// verdicts is a verdict table in memory that we share with the kernel
// program: an update is a store, a look-up touches one cache line. abi.h tells
// its layout and who may change what.
//
// A slot is named by its number: its place in its bucket behind the slots of
// all buckets before.
type verdicts struct {
	shape   shape
	factor  uint64
	buckets uint64

	mapped [3][]byte
	words  []uint64 // the buckets
	halves []uint32 // the same memory, by half words
	counts []uint64 // by slot
	sieve  []uint32 // by bucket
}

// shape is the layout of a bucket, a cache line: so many slots, of which each
// has a word for key and verdict (IPv4), or a word for the key, and behind
// those of all half a word for the verdict (IPv6).
type shape struct {
	slots int
	split bool
}

func shape4() shape { return shape{slots: slots4} }

func shape6() shape { return shape{slots: slots6, split: true} }

const (
	slots4       = len(datapathBucket4{}.Slots)
	slots6       = len(datapathBucket6{}.Nets)
	bucketWords  = int(unsafe.Sizeof(datapathBucket4{}) / 8)
	bucketHalves = 2 * bucketWords
)

// buckets is how many buckets hold capacity sources, with a third of the slots
// to spare: of random sources three in a hundred then find their bucket full,
// of IPv6 six.
func (s shape) buckets(capacity int) int {
	const least = 16
	return max(least, (3*capacity+2*s.slots-1)/(2*s.slots))
}

// sizeFor gives the maps of a table that holds capacity sources their sizes.
func (s shape) sizeFor(capacity int, buckets, sieve, counts *ebpf.MapSpec) {
	n := uint32(s.buckets(capacity))
	buckets.MaxEntries, sieve.MaxEntries, counts.MaxEntries = n, (n+1)/2, n*uint32(s.slots)
}

// mapVerdicts maps a table whose keys are spread by factor.
func mapVerdicts(buckets, sieve, counts *ebpf.Map, s shape, factor uint64) (_ *verdicts, err error) {
	v := &verdicts{shape: s, factor: factor, buckets: uint64(buckets.MaxEntries())}
	for i, m := range []*ebpf.Map{buckets, counts, sieve} {
		if v.mapped[i], err = mapArray(m); err != nil {
			return nil, errors.Join(err, v.close())
		}
	}
	v.words = wordsOf(v.mapped[0], int(v.buckets)*bucketWords)
	v.counts = wordsOf(v.mapped[1], int(v.buckets)*s.slots)
	v.sieve = unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(v.mapped[2]))), v.buckets)
	v.halves = unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(v.words))), 2*len(v.words))
	return v, nil
}

func (v *verdicts) close() error {
	if v == nil {
		return nil
	}
	mapped := v.mapped
	v.mapped, v.words, v.halves, v.counts, v.sieve = [3][]byte{}, nil, nil, nil, nil
	return errors.Join(unmap(mapped[0]), unmap(mapped[1]), unmap(mapped[2]))
}

// hash spreads key: the upper half says where it belongs. That of an address
// is of no other one.
func (v *verdicts) hash(key uint64) uint64 {
	if v.shape.split {
		return key * v.factor
	}
	addr := uint32(key) * uint32(v.factor)
	addr ^= addr >> 16
	return uint64(addr*(uint32(v.factor>>32)|1)) << 32
}

// bucket returns which bucket is key's.
func (v *verdicts) bucket(key uint64) int { return v.bucketOf(v.hash(key)) }

func (v *verdicts) bucketOf(hash uint64) int { return int(hash >> 32 * v.buckets >> 32) }

// touch reads from each line that a put under a hash will need. To do so for many
// before going on to the first has the processor fetch them all at once. What it
// returns means nothing.
func (v *verdicts) touch(hash uint64) uint64 {
	b := v.bucketOf(hash)
	return atomic.LoadUint64(&v.words[b*bucketWords]) | atomic.LoadUint64(&v.counts[b*v.shape.slots]) |
		uint64(atomic.LoadUint32(&v.sieve[b]))
}

// line returns where the line of a key's bucket begins.
func (v *verdicts) line(key uint64) *uint64 { return &v.words[v.bucket(key)*bucketWords] }

// find returns the slot of key, and a free one of its bucket; −1 for what
// there is not.
func (v *verdicts) find(key uint64) (at, free int) { return v.findIn(v.bucket(key), key) }

// findIn is find in the bucket of the key. It has no branches that cannot be
// foreseen.
func (v *verdicts) findIn(bucket int, key uint64) (at, free int) {
	words := (*[bucketWords]uint64)(v.words[bucket*bucketWords:])
	var held, none uint
	if v.shape.split {
		halves := (*[bucketHalves]uint32)(v.halves[bucket*bucketHalves:])[2*slots6:]
		for i := range slots6 {
			word := uint64(atomic.LoadUint32(&halves[i]))
			held |= isZero(atomic.LoadUint64(&words[i])^key) << i
			none |= isZero(word) << i
		}
	} else {
		for i := range words {
			word := atomic.LoadUint64(&words[i])
			held |= isZero(uint64(uint32(word)^uint32(key))) << i
			none |= isZero(word>>32) << i
		}
	}
	at, free = -1, -1
	first := bucket * v.shape.slots
	if held &^= none; held != 0 {
		at = first + bits.TrailingZeros(held)
	}
	if none != 0 {
		free = first + bits.TrailingZeros(none)
	}
	return at, free
}

// isZero is 1 for 0, and 0 for all else.
func isZero(x uint64) uint { return uint((x|-x)>>63) ^ 1 }

// slot returns whose a slot is, and its verdict, 0 if it is free.
func (v *verdicts) slot(at int) (key uint64, word uint32) {
	if v.shape.split {
		net, verdict := v.split(at)
		word = atomic.LoadUint32(verdict)
		return atomic.LoadUint64(net), word
	}
	head := atomic.LoadUint64(&v.words[at]) // all words of a bucket are slots
	return uint64(uint32(head)), uint32(head >> 32)
}

// split returns where the two parts of a slot are.
func (v *verdicts) split(at int) (key *uint64, verdict *uint32) {
	bucket, i := at/slots6, at%slots6 // no other shape is split, and a constant is no division
	return &v.words[bucket*bucketWords+i], &v.halves[bucket*bucketHalves+2*slots6+i]
}

func (v *verdicts) key(at int) uint64 { key, _ := v.slot(at); return key }

func (v *verdicts) word(at int) uint32 { _, word := v.slot(at); return word }

// set gives a slot another verdict, and another key if it was free or said
// elsewhere: the two are not always one store.
func (v *verdicts) set(at int, key uint64, word uint32) {
	if v.shape.split {
		net, verdict := v.split(at)
		atomic.StoreUint64(net, key)
		atomic.StoreUint32(verdict, word)
		return
	}
	atomic.StoreUint64(&v.words[at], uint64(word)<<32|key)
}

// occupy gives a slot that is free or says elsewhere to a key that has
// counted so much.
func (v *verdicts) occupy(at int, key, counts uint64, word uint32) {
	if atomic.LoadUint64(&v.counts[at]) != counts {
		atomic.StoreUint64(&v.counts[at], counts)
	}
	v.set(at, key, word)
}

// clear makes a slot free.
func (v *verdicts) clear(at int) {
	if v.shape.split {
		_, verdict := v.split(at)
		atomic.StoreUint32(verdict, 0)
	} else {
		atomic.StoreUint64(&v.words[at], 0)
	}
}

// sieveBits are the bits of a key in the sieve; rest is what its mark has of
// its hash, or more.
func sieveBits(rest uint32) uint32 {
	return 1<<(rest&31) | 1<<(rest>>5&31) | 1<<(rest>>10&31)
}

// A verdict is an action, whether the entry is kept when there is no more
// room, and an end.
const (
	actionBits = 3 // VERDICT_ACTION_BITS
	keepBit    = 1 << actionBits
	endShift   = 30                  // VERDICT_END_SHIFT
	endFrom    = 4                   // 32 − VERDICT_END_BITS
	maxEnd     = 1<<(32-endFrom) - 1 // nine years after the start
)

// endUnit is what the ends of sources are rounded up to.
const endUnit = time.Duration(1 << endShift)

// elsewhere is the verdict of a slot whose source's entry stands in the hash.
const elsewhere = uint32(ActionLimit)

// wordOf gives the verdict for an entry that is no limit.
func wordOf(expiresNs uint64, action Action, keep bool) uint32 {
	end := (expiresNs + 1<<endShift - 1) >> endShift
	if end > maxEnd {
		end = 0
	}
	word := uint32(end)<<endFrom | uint32(action)
	if keep {
		word |= keepBit
	}
	return word
}

// word is the verdict of an entry that is no limit.
func (k *datapathEntry) word() uint32 { return wordOf(k.ExpiresNs, Action(k.Action), k.Keep != 0) }

// entryOf is the reverse of word, for a source of so many bits.
func entryOf(word uint32, bits uint16) datapathEntry {
	return datapathEntry{
		ExpiresNs: uint64(word>>endFrom) << endShift,
		Action:    datapathAction(word & (1<<actionBits - 1)),
		Bits:      bits,
		Keep:      uint16(word & keepBit),
	}
}

// countsOf gives the counts from which a slot goes on, for an entry that has
// counted.
func countsOf(e *datapathEntry) uint64 {
	const most = 1<<32 - 1<<16 // COUNT_MAX
	return min(e.Attempts, most)<<32 | min(e.Dropped, most)
}

// read gives what a slot says and of whom, as an entry of bits length. It is
// not ok for one that is free, says elsewhere, or changes while it is read.
func (v *verdicts) read(at int, bits uint16) (key uint64, e datapathEntry, ok bool) {
	key, word := v.slot(at)
	if word == 0 || word == elsewhere {
		return 0, e, false
	}
	counts := atomic.LoadUint64(&v.counts[at])
	e = entryOf(word, bits)
	e.Attempts, e.Dropped = counts>>32, counts&(1<<32-1)
	keyNow, wordNow := v.slot(at)
	return key, e, key == keyNow && word == wordNow
}
