package loader

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// marks are the set of a family's sources that are dropped and nothing else, in
// memory that we share with the kernel program, which asks it before the tables.
// abi.h tells its layout.
//
// A mark is named by where its source belongs and what it is; a place by its number
// behind the places of all homes before. The kernel may look, and this process
// die, after each store.
type marks struct {
	form     markForm
	factor   uint64   // spreads the rest of a /64
	words    []uint64 // of the homes
	unmarked []uint64 // a bit a group: whether it is in left
	mapped   [2][]byte
	belief   *belief // nil if no kernel knows the set

	left   map[int][]uint64 // names of sources that have a verdict and no mark, by group
	shared map[name]int     // by how many sources more than one
}

// waits is added, in left, to who would have a mark if there was room.
const waits = 1 << 63

// name gives what the set knows of the source of a hash.
func (m *marks) name(hash uint64) name {
	home := m.homeOf(hash)
	return name{home, uint64(m.restOf(hash)&(1<<m.form.rest-1)) | uint64(home%homes)<<m.form.rest}
}

// homeOf is the home of a hash.
func (m *marks) homeOf(hash uint64) int { return int(hash >> 32 * uint64(m.form.homes) >> 32) }

// restOf is what tells a source from others of its home: a permuted address,
// or bits of the hash of a /64.
func (m *marks) restOf(hash uint64) uint32 {
	if m.form.width == 16 {
		return uint32(hash >> 32)
	}
	return uint32((hash ^ hash>>32) * m.factor >> (64 - m.form.rest))
}

// mapMarks maps a set.
func mapMarks(marksMap, unmarkedMap, beliefMap *ebpf.Map, f markForm, factor uint64) (_ *marks, err error) {
	f.homes = int(marksMap.MaxEntries())
	if have, want := int(unmarkedMap.MaxEntries()), f.unmarked(); have < want {
		return nil, fmt.Errorf("map the set: %d words for the groups of %d homes, want %d", have, f.homes, want)
	}
	m := marksIn(f, factor, nil, nil)
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	if m.mapped[0], err = mapArray(marksMap); err != nil {
		return nil, err
	}
	if m.mapped[1], err = mapArray(unmarkedMap); err != nil {
		return nil, err
	}
	m.words, m.unmarked = wordsOf(m.mapped[0], f.words()), wordsOf(m.mapped[1], f.unmarked())
	m.belief, err = mapBelief(beliefMap)
	return m, err
}

// newMarks makes an empty set that no kernel knows.
func newMarks(f markForm, factor uint64) *marks {
	return marksIn(f, factor, make([]uint64, f.words()), make([]uint64, f.unmarked()))
}

// marksIn is the set that stands in some words, of which nothing else is known.
func marksIn(f markForm, factor uint64, words, unmarked []uint64) *marks {
	return &marks{
		form: f, factor: factor, words: words, unmarked: unmarked,
		left: make(map[int][]uint64), shared: make(map[name]int),
	}
}

func (m *marks) close() error {
	if m == nil {
		return nil
	}
	mapped := m.mapped
	m.mapped, m.words, m.unmarked = [2][]byte{}, nil, nil
	return errors.Join(unmap(mapped[0]), unmap(mapped[1]), m.belief.close())
}

// mapArray maps an array to memory, as long as its pages are.
func mapArray(m *ebpf.Map) ([]byte, error) {
	size, page := int(m.MaxEntries())*int(m.ValueSize()), unix.Getpagesize()
	mapped, err := unix.Mmap(m.FD(), 0, (size+page-1)/page*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map verdict table: %w", err)
	}
	return mapped, nil
}

func unmap(mapped []byte) error {
	if mapped == nil {
		return nil
	}
	if err := unix.Munmap(mapped); err != nil {
		return fmt.Errorf("unmap verdict table: %w", err)
	}
	return nil
}

// wordsOf are the first n words of what is mapped, which is aligned to a page.
func wordsOf(mapped []byte, n int) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(mapped))), n)
}

// touch reads from the home of a hash, as that of a table does.
func (m *marks) touch(hash uint64) uint64 {
	return atomic.LoadUint64(&m.words[uint(m.homeOf(hash)*homePlaces)*m.form.width/64])
}

// at returns what a place has.
func (m *marks) at(place int) uint64 {
	bit := uint(place) * m.form.width
	return m.words[bit/64] >> (bit % 64) & m.form.bits()
}

func (m *marks) set(place int, mark uint64) {
	word, value := m.with(place, mark)
	atomic.StoreUint64(word, value)
}

// with returns the word of a place, and what it is with a mark there.
func (m *marks) with(place int, mark uint64) (word *uint64, value uint64) {
	bit := uint(place) * m.form.width
	word = &m.words[bit/64]
	return word, *word&^(m.form.bits()<<(bit%64)) | mark<<(bit%64)
}

// find returns the place of a mark, and the first free one on the way; −1 for
// what there is not.
func (m *marks) find(n name) (at, free int) {
	each, width := m.form.each(), m.form.width
	wanted := n.mark * each
	log := bits.TrailingZeros(width) // a division would take longer than all else
	wordsOfHome := homePlaces << log / 64
	group := n.home / homes * homes
	for i := range homes {
		first := (group + (n.home+i)%homes) * wordsOfHome
		free = -1
		for j, marks := range m.words[first : first+wordsOfHome] {
			place := (first + j) << 6 >> log
			if found := zeros(marks^wanted, each, width); found != 0 {
				return place + bits.TrailingZeros64(found)>>log, free
			}
			if none := zeros(marks, each, width); none != 0 && free < 0 {
				free = place + bits.TrailingZeros64(none)>>log
			}
		}
		if free >= 0 {
			return -1, free
		}
	}
	return -1, -1
}

// drops reports whether the set knows that a source is dropped.
func (m *marks) drops(n name) bool {
	if n.mark == 0 {
		return false
	}
	if at, _ := m.find(n); at >= 0 {
		return true
	}
	at := m.leftAt(n)
	return at >= 0 && m.left[n.home/homes][at]&waits != 0
}

// put says of a source that has a verdict whether it is dropped and nothing
// else is to be done. It is fresh if it had none before.
func (m *marks) put(n name, dropped, fresh bool) {
	if n.mark == 0 {
		return
	}
	at, free := m.find(n)
	leftAt := -1
	if at < 0 {
		leftAt = m.leftAt(n)
	}
	if fresh && (at >= 0 || leftAt >= 0) {
		m.shared[n]++
	}
	dropped = dropped && (len(m.shared) == 0 || m.shared[n] == 0)
	group := n.home / homes
	switch {
	case at >= 0 && dropped:
	case at >= 0:
		m.leave(group, n.mark)
		m.vacate(at)
	case dropped && free >= 0:
		m.set(free, n.mark)
		if leftAt >= 0 {
			m.belief.moved()
			m.unleave(group, leftAt)
		}
	default:
		left := n.mark
		if dropped {
			left |= waits
		}
		if leftAt >= 0 {
			m.left[group][leftAt] = left
		} else {
			m.leave(group, left)
		}
	}
}

// hasUnmarked reports whether a group has sources that have a verdict and no mark.
func (m *marks) hasUnmarked(group int) bool {
	return m.unmarked[group/wordGroups]>>(group%wordGroups)&1 != 0
}

func (m *marks) setUnmarked(group int, are bool) {
	word, bit := &m.unmarked[group/wordGroups], uint64(1)<<(group%wordGroups)
	switch {
	case are == m.hasUnmarked(group):
	case are:
		atomic.StoreUint64(word, *word|bit)
	default:
		atomic.StoreUint64(word, *word&^bit)
	}
}

// leave notes that a source has a verdict and no mark, before it loses the one that it had.
func (m *marks) leave(group int, mark uint64) {
	m.setUnmarked(group, true)
	m.left[group] = append(m.left[group], mark)
}

// leftAt returns where a source is among those of its group that have no mark.
func (m *marks) leftAt(n name) int {
	group := n.home / homes
	if !m.hasUnmarked(group) {
		return -1
	}
	return slices.IndexFunc(m.left[group], func(mark uint64) bool { return mark&^waits == n.mark })
}

// unleave forgets one that had no mark.
func (m *marks) unleave(group, at int) {
	rest := slices.Delete(m.left[group], at, at+1)
	if m.left[group] = rest; len(rest) == 0 {
		delete(m.left, group)
		m.setUnmarked(group, false)
	}
}

// remove tells that a source that had a verdict has none.
func (m *marks) remove(n name) {
	if n.mark == 0 {
		return
	}
	if more := m.shared[n]; more > 0 {
		if m.shared[n]--; more == 1 {
			delete(m.shared, n)
		}
		return
	}
	if at, _ := m.find(n); at >= 0 {
		m.vacate(at)
	} else if at := m.leftAt(n); at >= 0 {
		m.unleave(n.home/homes, at)
	}
}

// vacate frees a place. In a full group it is at once that of another one who
// waits; in a full home, that of one who stands further on because the home was
// full.
func (m *marks) vacate(place int) {
	group, home := place/groupPlaces, place/homePlaces
	if waiting := slices.IndexFunc(m.left[group], func(mark uint64) bool { return mark&waits != 0 }); waiting >= 0 {
		m.set(place, m.left[group][waiting]&^waits)
		m.belief.moved()
		m.unleave(group, waiting)
		return
	}
	if other := m.behind(home); other >= 0 {
		m.set(place, m.at(other))
		m.belief.moved()
		m.vacate(other)
		return
	}
	m.set(place, 0)
}

// behind returns a place whose mark is found only because a home is full, or −1.
func (m *marks) behind(home int) int {
	for place := home * homePlaces; place < (home+1)*homePlaces; place++ {
		if m.at(place) == 0 {
			return -1
		}
	}
	group := home / homes
	for i := 1; i < homes; i++ {
		other := group*homes + (home+i)%homes
		for place := other * homePlaces; place < (other+1)*homePlaces; place++ {
			mark := m.at(place)
			if mark == 0 {
				continue
			}
			from := m.form.homeOf(group, mark)
			if (home-from)&(homes-1) < (other-from)&(homes-1) {
				return place
			}
		}
	}
	return -1
}

// become makes the set say what another one does, whose first drop ends so
// soon, in steps after each of which the kernel finds all that both say. What
// stands here without a mark is not known before.
func (m *marks) become(want *marks, first uint64) {
	m.belief.atMost(first)
	m.left, m.shared = make(map[int][]uint64), want.shared
	for group := range m.form.homes / homes {
		from, to := group*groupPlaces*int(m.form.width)/64, (group+1)*groupPlaces*int(m.form.width)/64
		if !m.hasUnmarked(group) && !want.hasUnmarked(group) && slices.Equal(m.words[from:to], want.words[from:to]) {
			continue
		}
		m.groupBecomes(group, want.group(group), want.left[group])
	}
}

// group returns the marks that stand in a group.
func (m *marks) group(group int) (all []uint64) {
	for place := group * groupPlaces; place < (group+1)*groupPlaces; place++ {
		if mark := m.at(place); mark != 0 {
			all = append(all, mark)
		}
	}
	return all
}

// groupBecomes brings a group to marks, and to what has none. As long as that is
// under way, it is said to have unmarked ones.
func (m *marks) groupBecomes(group int, want, left []uint64) {
	m.setUnmarked(group, true)
	for _, mark := range left {
		if mark&waits != 0 {
			want = append(want, mark&^waits)
		} else {
			m.leave(group, mark)
		}
	}
	for _, mark := range want {
		m.put(name{m.form.homeOf(group, mark), mark}, true, false)
	}
	for place := group * groupPlaces; place < (group+1)*groupPlaces; {
		mark := m.at(place)
		if mark == 0 {
			place++
			continue
		}
		at, _ := m.find(name{m.form.homeOf(group, mark), mark})
		if at == place && slices.Contains(want, mark) {
			place++
			continue
		}
		m.vacate(place) // another may stand there now
	}
	if len(m.left[group]) == 0 {
		m.belief.moved()
		m.setUnmarked(group, false)
	}
}
