package loader

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
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
	prints []uint64 // by bucket
	counts []uint64 // by slot
}

// shape is the layout of a bucket, a cache line: so many slots, of which each
// has a word for key and verdict (IPv4), or a word for the key, and behind
// those of all half a word for the verdict (IPv6).
type shape struct {
	slots  int
	split  bool
	prints uint // bits of one
}

func shape4() shape { return shape{slots: len(datapathBucket4{}.Slots), prints: 7} }

func shape6() shape { return shape{slots: len(datapathBucket6{}.Nets), split: true, prints: 12} }

const (
	bucketWords  = int(unsafe.Sizeof(datapathBucket4{}) / 8)
	bucketHalves = 2 * bucketWords
	printFrom    = 16      // PRINT_FROM
	printOutside = 1 << 63 // PRINT_OUTSIDE
)

// buckets is how many buckets hold capacity sources, with a third of the slots
// to spare: of random sources three in a hundred then find their bucket full,
// of IPv6 six.
func (s shape) buckets(capacity int) int {
	const least = 16
	return max(least, (3*capacity+2*s.slots-1)/(2*s.slots))
}

// sizeFor gives the maps of a table that holds capacity sources their sizes.
func (s shape) sizeFor(capacity int, buckets, prints, counts *ebpf.MapSpec) {
	n := uint32(s.buckets(capacity))
	buckets.MaxEntries, prints.MaxEntries, counts.MaxEntries = n, n, n*uint32(s.slots)
}

// mapVerdicts maps a table whose keys are spread by factor.
func mapVerdicts(buckets, prints, counts *ebpf.Map, s shape, factor uint64) (*verdicts, error) {
	v := &verdicts{shape: s, factor: factor, buckets: uint64(buckets.MaxEntries())}
	var words [3][]uint64
	for i, m := range []*ebpf.Map{buckets, prints, counts} {
		size, page := int(m.MaxEntries())*int(m.ValueSize()), unix.Getpagesize()
		var err error
		v.mapped[i], err = unix.Mmap(m.FD(), 0, (size+page-1)/page*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("map verdict table: %w", err), v.close())
		}
		words[i] = unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(v.mapped[i]))), size/8) // aligned to a page
	}
	v.words, v.prints, v.counts = words[0], words[1], words[2]
	v.halves = unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(v.words))), 2*len(v.words))
	return v, nil
}

func (v *verdicts) close() error {
	if v == nil {
		return nil
	}
	mapped := v.mapped
	v.mapped, v.words, v.halves, v.prints, v.counts = [3][]byte{}, nil, nil, nil, nil
	var errs []error
	for _, m := range mapped {
		if m == nil {
			continue
		}
		if err := unix.Munmap(m); err != nil {
			errs = append(errs, fmt.Errorf("unmap verdict table: %w", err))
		}
	}
	return errors.Join(errs...)
}

// bucket returns which bucket is key's.
func (v *verdicts) bucket(key uint64) int {
	return int(key * v.factor >> 32 * v.buckets >> 32)
}

// touchKey reads from each line that a put of key will need. To do so for many
// keys before going on to the first has the processor fetch them all at once.
// What it returns means nothing.
func (v *verdicts) touchKey(key uint64) uint64 {
	b := v.bucket(key)
	return atomic.LoadUint64(&v.words[b*bucketWords]) | atomic.LoadUint64(&v.prints[b]) | atomic.LoadUint64(&v.counts[b*v.shape.slots])
}

// find returns the slot of key, and a free one of its bucket; −1 for what
// there is not.
func (v *verdicts) find(key uint64) (at, free int) {
	free = -1
	slot := v.bucket(key) * v.shape.slots
	for range v.shape.slots {
		switch held, word := v.slot(slot); {
		case word == 0:
			if free < 0 {
				free = slot
			}
		case held == key:
			return slot, free
		}
		slot++
	}
	return -1, free
}

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
	bucket, i := at/v.shape.slots, at%v.shape.slots
	return &v.words[bucket*bucketWords+i], &v.halves[bucket*bucketHalves+2*v.shape.slots+i]
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
	v.print(at, key*v.factor>>printFrom)
	atomic.StoreUint64(&v.counts[at], counts)
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
	v.print(at, 0)
}

// print sets what a bucket's word has of one slot: the lowest bits of a hash.
func (v *verdicts) print(at int, hash uint64) {
	bucket, i := at/v.shape.slots, uint(at%v.shape.slots)
	mask := uint64(1<<v.shape.prints - 1)
	shift := i * v.shape.prints
	atomic.StoreUint64(&v.prints[bucket], v.prints[bucket]&^(mask<<shift)|hash&mask<<shift)
}

// reprint sets a bucket's word anew if it is not what it should be.
func (v *verdicts) reprint(bucket int, outside bool) {
	var word uint64
	for i := range v.shape.slots {
		if key, verdict := v.slot(bucket*v.shape.slots + i); verdict != 0 {
			word |= key * v.factor >> printFrom & (1<<v.shape.prints - 1) << (uint(i) * v.shape.prints)
		}
	}
	if outside {
		word |= printOutside
	}
	if v.prints[bucket] != word {
		atomic.StoreUint64(&v.prints[bucket], word)
	}
}

// outside says whether a source of a bucket stands outside of it.
func (v *verdicts) outside(bucket int, yes bool) {
	word := v.prints[bucket] &^ printOutside
	if yes {
		word |= printOutside
	}
	atomic.StoreUint64(&v.prints[bucket], word)
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
