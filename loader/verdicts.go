package loader

import (
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// verdicts is a verdict table in memory that we share with the kernel
// program: an update is a store, a look-up touches one cache line (IPv6: two
// neighbours). abi.h tells its layout and who may change what.
type verdicts struct {
	shape  shape
	factor uint64
	shift  uint

	mapped []byte
	words  []uint64 // the same memory
}

// shape is the layout of a verdict table, in words of eight bytes.
type shape struct {
	bucket int
	slots  int // in a bucket
	slot   int
}

func shape4() shape {
	var b datapathBucket4
	return shape{int(unsafe.Sizeof(b)) / 8, len(b.Slots), int(unsafe.Sizeof(b.Slots[0])) / 8}
}

func shape6() shape {
	var b datapathBucket6
	return shape{int(unsafe.Sizeof(b)) / 8, len(b.Slots), int(unsafe.Sizeof(b.Slots[0])) / 8}
}

// buckets is how many buckets hold capacity sources, with room to spare: half
// of the slots stay empty, so that of random sources two in a hundred find
// their bucket full.
func (s shape) buckets(capacity int) int {
	const least = 16
	wanted := max(least, (2*capacity+s.slots-1)/s.slots)
	return 1 << bits.Len(uint(wanted-1))
}

// shiftOf is how far a product is shifted to give the index of one of so many
// buckets, a power of two.
func shiftOf(buckets int) uint { return uint(64 - bits.TrailingZeros(uint(buckets))) }

// mapVerdicts maps m, whose keys are spread by factor.
func mapVerdicts(m *ebpf.Map, s shape, factor uint64) (*verdicts, error) {
	size := int(m.MaxEntries()) * int(m.ValueSize())
	page := unix.Getpagesize()
	mapped, err := unix.Mmap(m.FD(), 0, (size+page-1)/page*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map verdict table: %w", err)
	}
	return &verdicts{
		shape:  s,
		factor: factor,
		shift:  shiftOf(int(m.MaxEntries())),
		mapped: mapped,
		words:  unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(mapped))), size/8), // aligned to a page
	}, nil
}

func (v *verdicts) close() error {
	if v == nil || v.mapped == nil {
		return nil
	}
	mapped := v.mapped
	v.mapped, v.words = nil, nil
	if err := unix.Munmap(mapped); err != nil {
		return errors.Join(errors.New("unmap verdict table"), err)
	}
	return nil
}

// A slot's place is the index of its first word.

// bucket returns the place of the first slot of key's bucket.
func (v *verdicts) bucket(key uint64) int { return int(key*v.factor>>v.shift) * v.shape.bucket }

// find returns the place of key, and a free one of its bucket; −1 for what
// there is not.
func (v *verdicts) find(key uint64) (at, free int) {
	at, free = -1, -1
	slot := v.bucket(key)
	for range v.shape.slots {
		switch word := v.word(slot); {
		case word == 0:
			if free < 0 {
				free = slot
			}
		case v.key(slot) == key:
			return slot, free
		}
		slot += v.shape.slot
	}
	return at, free
}

// narrow tells that a slot's key and verdict share a word: those of IPv4 do.
func (v *verdicts) narrow() bool { return v.shape.slot == 2 }

// key returns whose the slot at a place is, if its verdict is not 0.
func (v *verdicts) key(at int) uint64 {
	if v.narrow() {
		return uint64(uint32(atomic.LoadUint64(&v.words[at])))
	}
	return atomic.LoadUint64(&v.words[at])
}

// word returns the verdict of a slot, 0 if it is free.
func (v *verdicts) word(at int) uint32 {
	if v.narrow() {
		return uint32(atomic.LoadUint64(&v.words[at]) >> 32)
	}
	return uint32(atomic.LoadUint64(&v.words[at+1]))
}

// set gives a slot a key and a verdict. Where the key is another than before,
// the slot must be free or say elsewhere: the two are not always one store.
func (v *verdicts) set(at int, key uint64, word uint32) {
	if v.narrow() {
		atomic.StoreUint64(&v.words[at], uint64(word)<<32|key)
		return
	}
	atomic.StoreUint64(&v.words[at], key)
	atomic.StoreUint64(&v.words[at+1], uint64(word))
}

// clear makes a slot free.
func (v *verdicts) clear(at int) {
	if v.narrow() {
		atomic.StoreUint64(&v.words[at], 0)
		return
	}
	atomic.StoreUint64(&v.words[at+1], 0)
}

func (v *verdicts) counts(at int) *uint64 { return &v.words[at+v.shape.slot-1] }

// elsewhere is the verdict of a slot whose source's entry stands in the hash.
const elsewhere = uint32(ActionLimit)

// endUnit is what the ends of sources are rounded up to.
const endUnit = time.Duration(1 << endShift)

const (
	actionBits = 3         // VERDICT_ACTION_BITS
	endShift   = 28        // VERDICT_END_SHIFT
	maxEnd     = 1<<29 - 1 // what is left of 32 bits: four years after the start
)

// wordOf gives the verdict for an entry that is no limit.
func wordOf(e *datapathEntry) uint32 {
	end := e.ExpiresNs>>endShift + 1
	if e.ExpiresNs&(1<<endShift-1) == 0 {
		end--
	}
	if end > maxEnd {
		end = 0
	}
	return uint32(end)<<actionBits | uint32(e.Action)
}

// entry gives what the slot at a place says, as an entry of bits length.
func (v *verdicts) entry(at int, bits uint32) datapathEntry {
	word, counts := v.word(at), atomic.LoadUint64(v.counts(at))
	return datapathEntry{
		ExpiresNs: uint64(word>>actionBits) << endShift,
		Action:    datapathAction(word & (1<<actionBits - 1)),
		Bits:      bits,
		Attempts:  counts >> 32,
		Dropped:   counts & (1<<32 - 1),
	}
}

// read gives what a slot says and of whom. It is not ok for one that is free,
// says elsewhere, or changes while it is read.
func (v *verdicts) read(at int, bits uint32) (key uint64, e datapathEntry, ok bool) {
	word := v.word(at)
	if word == 0 || word == elsewhere {
		return 0, e, false
	}
	key, e = v.key(at), v.entry(at, bits)
	return key, e, word == v.word(at)
}

// setCounts lets a slot count on from what an entry has counted.
func (v *verdicts) setCounts(at int, e *datapathEntry) {
	const most = 1<<32 - 1<<16 // COUNT_MAX
	atomic.StoreUint64(v.counts(at), min(e.Attempts, most)<<32|min(e.Dropped, most))
}
