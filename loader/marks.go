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

// marks are the set of a family's sources that have a verdict, in memory that
// we share with the kernel program, which asks it before the tables. abi.h
// tells its layout.
//
// A mark is named by where its source belongs and what it is without its
// uppermost bit; a place by its number behind the places of all homes before.
// The kernel may look, and this process die, after each store.
type marks struct {
	form   markForm
	factor uint64 // spreads the rest of a /64
	words  []uint64
	mapped []byte
	belief *belief // nil if no kernel knows the set

	left   map[int][]uint64 // marks that their group has no room for, by group
	shared map[name]int     // by how many sources more than one
}

// name is what the set knows of a source.
type name struct {
	home int
	mark uint64 // 0: it cannot have one
}

// markForm is the form of one family's marks: how many bits one has, and which of
// them are a hash's.
type markForm struct {
	width, rest uint
	homes       int
}

const (
	homePlaces  = 4 // of a home
	homes       = 4 // HOMES, of a group
	groupPlaces = homePlaces * homes
)

// markForm4 is the form of the set for capacity addresses, of which two more
// than there are may be in a home on average. An address has as many bits as
// the number of its home and the rest in its mark, so there are no fewer homes
// in a small one.
func markForm4(capacity int) markForm {
	const rest = 13 // MARK_REST4
	homeBits := max(32-rest, bits.Len(uint(capacity-1))-1)
	return markForm{width: 16, rest: rest, homes: 1 << homeBits}
}

// markForm6 is that for capacity /64s, with a fifth of the places to spare: of
// random ones three in a hundred then find their group full.
func markForm6(capacity int) markForm {
	const rest = 29 // MARK_REST6
	const least = 4
	return markForm{width: 32, rest: rest, homes: homes * max(least, (5*capacity+4*groupPlaces-1)/(4*groupPlaces))}
}

// top is the bit that says that a source is dropped.
func (f markForm) top() uint64 { return 1 << (f.width - 1) }

// low are all bits of a word's marks but the uppermost of each.
func (f markForm) low() uint64 {
	if f.width == 16 {
		return 0x7fff7fff7fff7fff
	}
	return 0x7fffffff7fffffff
}

// name gives what the set knows of the source of a hash.
func (m *marks) name(hash uint64) name {
	f := m.form
	home := m.homeOf(hash)
	rest := uint64(m.restOf(hash))
	if f.width == 16 { // the upper bits are the home
		rest &= 1<<(32-bits.TrailingZeros(uint(f.homes))) - 1
	}
	return name{home, rest | uint64(home%homes)<<f.rest}
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

// homeOf returns where a mark of a group belongs.
func (f markForm) homeOf(group int, mark uint64) int {
	return group*homes + int(mark&^f.top()>>f.rest)
}

// mapMarks maps a set.
func mapMarks(marksMap, beliefMap *ebpf.Map, f markForm, factor uint64) (_ *marks, err error) {
	f.homes = int(marksMap.MaxEntries())
	m := newMarks(f, factor)
	m.mapped, err = mapArray(marksMap)
	if err != nil {
		return nil, err
	}
	m.words = wordsOf(m.mapped, len(m.words))
	if m.belief, err = mapBelief(beliefMap); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

// newMarks makes an empty set that no kernel knows.
func newMarks(f markForm, factor uint64) *marks {
	return &marks{
		form: f, factor: factor, words: make([]uint64, f.homes*homePlaces*int(f.width)/64),
		left: make(map[int][]uint64), shared: make(map[name]int),
	}
}

func (m *marks) close() error {
	if m == nil {
		return nil
	}
	mapped := m.mapped
	m.mapped, m.words = nil, nil
	return errors.Join(unmap(mapped), m.belief.close())
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
	return m.words[bit/64] >> (bit % 64) & (m.form.top()<<1 - 1)
}

func (m *marks) set(place int, mark uint64) {
	word, value := m.with(place, mark)
	atomic.StoreUint64(word, value)
}

// with returns the word of a place, and what it is with a mark there.
func (m *marks) with(place int, mark uint64) (word *uint64, value uint64) {
	bit := uint(place) * m.form.width
	word = &m.words[bit/64]
	return word, *word&^((m.form.top()<<1-1)<<(bit%64)) | mark<<(bit%64)
}

// find returns the place of a mark, and the first free one on the way; −1 for
// what there is not.
func (m *marks) find(n name) (at, free int) {
	low, width := m.form.low(), m.form.width
	wanted := n.mark * (^low >> (width - 1))
	log := bits.TrailingZeros(width) // a division would take longer than all else
	wordsOfHome := homePlaces << log / 64
	group := n.home / homes * homes
	for i := range homes {
		first := (group + (n.home+i)%homes) * wordsOfHome
		free = -1
		for j, marks := range m.words[first : first+wordsOfHome] {
			place := (first + j) << 6 >> log
			if found := zeros(marks^wanted, low); found != 0 {
				return place + bits.TrailingZeros64(found)>>log, free
			}
			if none := zeros(marks, low); none != 0 && free < 0 {
				free = place + bits.TrailingZeros64(none)>>log
			}
		}
		if free >= 0 {
			return -1, free
		}
	}
	return -1, -1
}

// zeros are the uppermost bits of those marks of a word whose lower bits are
// all zero.
func zeros(marks, low uint64) uint64 { return ^(marks&low + low) &^ low }

// drops reports whether a source's mark says that it is dropped.
func (m *marks) drops(n name) bool {
	if n.mark == 0 {
		return false
	}
	if at, _ := m.find(n); at >= 0 {
		return m.at(at)&m.form.top() != 0
	}
	at := m.leftAt(n)
	return at >= 0 && m.left[n.home/homes][at]&m.form.top() != 0
}

// put says of a source that has a verdict whether it is dropped and nothing
// else is to be done. It is fresh if it had none before.
func (m *marks) put(n name, dropped, fresh bool) {
	if n.mark == 0 {
		return
	}
	at, free := m.find(n)
	var leftAt = -1
	if at < 0 && free < 0 {
		leftAt = m.leftAt(n)
	}
	if fresh && (at >= 0 || leftAt >= 0) {
		m.shared[n]++
	}
	mark := m.markOf(n, dropped && (len(m.shared) == 0 || m.shared[n] == 0))
	group := n.home / homes
	switch {
	case at >= 0:
		if m.at(at) != mark {
			m.set(at, mark)
		}
	case free >= 0:
		m.set(free, mark)
	case leftAt >= 0:
		m.left[group][leftAt] = mark
	default:
		m.left[group] = append(m.left[group], mark)
	}
}

// markOf is the mark of a source that is dropped, or is not.
func (m *marks) markOf(n name, dropped bool) uint64 {
	if dropped {
		return n.mark | m.form.top()
	}
	return n.mark
}

// leftAt returns where a mark is among those that its group has no room for.
func (m *marks) leftAt(n name) int {
	return slices.IndexFunc(m.left[n.home/homes], func(mark uint64) bool { return mark&^m.form.top() == n.mark })
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

// unleave forgets a mark that had no room.
func (m *marks) unleave(group, at int) {
	rest := slices.Delete(m.left[group], at, at+1)
	if m.left[group] = rest; len(rest) == 0 {
		delete(m.left, group)
	}
}

// vacate frees a place. In a full group it is another's at once; in a full
// home, that of one who stands further on because the home was full.
func (m *marks) vacate(place int) {
	group, home := place/groupPlaces, place/homePlaces
	if waiting := m.left[group]; len(waiting) > 0 {
		last := len(waiting) - 1
		m.set(place, waiting[last])
		m.unleave(group, last)
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
// had no room is not known before.
func (m *marks) become(want *marks, first uint64) {
	m.belief.atMost(first)
	m.left, m.shared = make(map[int][]uint64), want.shared
	for group := range m.form.homes / homes {
		from, to := group*groupPlaces*int(m.form.width)/64, (group+1)*groupPlaces*int(m.form.width)/64
		if slices.Equal(m.words[from:to], want.words[from:to]) && len(want.left[group]) == 0 {
			continue
		}
		m.groupBecomes(group, append(want.group(group), want.left[group]...))
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

func (m *marks) groupBecomes(group int, want []uint64) {
	top := m.form.top()
	for _, mark := range want {
		m.put(name{m.form.homeOf(group, mark), mark &^ top}, mark&top != 0, false)
	}
	for place := group * groupPlaces; place < (group+1)*groupPlaces; {
		mark := m.at(place)
		at, _ := m.find(name{m.form.homeOf(group, mark), mark &^ top})
		if mark == 0 || at == place && slices.Contains(want, mark) {
			place++
			continue
		}
		m.vacate(place) // another may stand there now
	}
}
