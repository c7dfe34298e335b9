package loader

import (
	"errors"
	"iter"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
)

// Empty reports whether the tables hold nothing.
func (t *tables) Empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sources4.used == 0 && t.sources6.used == 0 && t.prefixes4.empty() && t.prefixes6.empty()
}

// Compare looks up what stands for the prefixes of entries, which come in pieces,
// and answers each piece with as many entries, less what was counted: without an
// action where nothing stands. Then rest yields what was not asked for, in no order.
// Nothing may be put or deleted until that has ended.
//
// A look-up costs no system call where [tables.Put] does not either.
func (t *tables) Compare(pieces iter.Seq[[]Entry], answer func([]Entry)) (rest iter.Seq2[Entry, error], err error) {
	c := comparison{tables: t}
	for i := range c.asked {
		c.asked[i] = asked{
			slots4: make(slotSet, len(t.verdicts4.counts)/64+1),
			slots6: make(slotSet, len(t.verdicts6.counts)/64+1),
			others: make(map[netip.Prefix]bool),
		}
	}
	var have []Entry
	for piece := range pieces {
		have = slices.Grow(have[:0], len(piece))[:len(piece)]
		if err := c.look(piece, have); err != nil {
			return nil, err
		}
		answer(have)
	}
	return c.rest, nil
}

// comparison knows what was asked for and is there, by each half of every piece.
type comparison struct {
	*tables
	asked [2]asked
}

type asked struct {
	slots4, slots6 slotSet
	others         map[netip.Prefix]bool // that stand in no slot
}

// slotSet has a bit for each slot.
type slotSet []uint64

func (s slotSet) add(at int)      { s[at/64] |= 1 << (at % 64) }
func (s slotSet) has(at int) bool { return s != nil && s[at/64]&(1<<(at%64)) != 0 }

// join adds those of another set.
func (s slotSet) join(other slotSet) {
	for i := range s {
		s[i] |= other[i]
	}
}

// look finds what stands for the prefixes of a piece.
func (c *comparison) look(piece, have []Entry) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, err := c.now()
	if err != nil {
		return err
	}
	middle := len(piece) / 2
	var errs [2]error
	inParallel(func(i int) {
		if i == 0 {
			errs[i] = c.lookHalf(piece[:middle], have[:middle], at, &c.asked[i])
		} else {
			errs[i] = c.lookHalf(piece[middle:], have[middle:], at, &c.asked[i])
		}
	})
	return errors.Join(errs[:]...)
}

func (c *comparison) lookHalf(piece, have []Entry, at moment, a *asked) error {
	var sum uint64
	var lines [ahead]*uint64
	for begin := 0; begin < len(piece); begin += ahead {
		end := min(begin+ahead, len(piece))
		wanted := lines[:0]
		for i := begin; i < end; i++ {
			if err := validatePrefix(piece[i].Prefix); err != nil {
				return err
			}
			switch p := piece[i].Prefix; tableOf(p) {
			case sources4:
				wanted = append(wanted, c.verdicts4.line(keyOf(keyOfSource4(p))))
			case sources6:
				wanted = append(wanted, c.verdicts6.line(keyOf(keyOfSource6(p))))
			}
		}
		for _, line := range wanted { // and nothing else: the fewer instructions, the more of them are under way
			sum |= atomic.LoadUint64(line)
		}
		for i := begin; i < end; i++ {
			p := piece[i].Prefix
			value, found, err := c.under(p, a)
			if err != nil {
				return err
			}
			if have[i] = (Entry{}); found {
				have[i] = fromKernel(p.Masked(), &value, at)
			}
		}
	}
	runtime.KeepAlive(sum) // or the compiler might leave it out
	return nil
}

// under returns the row of exactly this prefix, and notes that it was asked for.
func (c *comparison) under(p netip.Prefix, a *asked) (value datapathEntry, found bool, err error) {
	bits, slot := uint16(p.Bits()), -1
	switch tableOf(p) {
	case sources4:
		value, slot, found, err = c.sources4.locate(keyOfSource4(p))
		if slot >= 0 {
			a.slots4.add(slot)
		}
	case sources6:
		value, slot, found, err = c.sources6.locate(keyOfSource6(p))
		if slot >= 0 {
			a.slots6.add(slot)
		}
	case prefixes4:
		value, found, err = c.prefixes4.get(keyOfPrefix4(p), bits)
	case prefixes6:
		value, found, err = c.prefixes6.get(keyOfPrefix6(p), bits)
	}
	if found && slot < 0 {
		a.others[p.Masked()] = true
	}
	return value, found, err
}

// rest yields what was not asked for.
func (c *comparison) rest(yield func(Entry, error) bool) {
	a, b := &c.asked[0], &c.asked[1]
	a.slots4.join(b.slots4)
	a.slots6.join(b.slots6)
	for e, err := range c.entriesBut(a.slots4, a.slots6) {
		if err == nil && (a.others[e.Prefix] || b.others[e.Prefix]) {
			continue
		}
		if !yield(e, err) {
			return
		}
	}
}
