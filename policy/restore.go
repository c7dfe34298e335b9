package policy

import (
	"encoding/binary"
	"fmt"
	"math"
)

// snapshotReader reads the body of a snapshot. After the first problem it
// reads zeros only; bad then says what it was.
type snapshotReader struct {
	engine *Engine // a fresh one, which is filled
	data   []byte
	bad    string
	names  []string
	before bool     // it is of version snapshotBefore
	rules  [3][]int // by Per−1: for each window that was written, the plan that has it now, or −1
	plans  []int    // for each rule that was written, the plan that it is now, or −1
}

// restore fills a new engine from the body of a snapshot and, if all is well,
// takes its place.
func (e *Engine) restore(body []byte, before bool) error {
	fresh, err := NewEngine(e.rules, e.limits)
	if err != nil {
		return err
	}
	r := &snapshotReader{engine: fresh, data: body, before: before}
	r.head()
	r.sources()
	r.users()
	r.nets()
	r.site()
	if r.bad == "" && len(r.data) > 0 {
		r.bad = "something follows its end"
	}
	if r.bad != "" {
		return fmt.Errorf("restore engine: %w: %s", ErrSnapshot, r.bad)
	}
	*e = *fresh
	return nil
}

func (r *snapshotReader) fail(why string) {
	if r.bad == "" {
		r.bad = why
	}
	r.data = nil
}

func (r *snapshotReader) bytes(n int) []byte {
	if n < 0 || n > len(r.data) {
		r.fail("it ends too early")
		return make([]byte, min(max(n, 0), 64))
	}
	out := r.data[:n]
	r.data = r.data[n:]
	return out
}

// number reads a number that is at most top.
func (r *snapshotReader) number(top uint64) uint64 {
	n, length := binary.Uvarint(r.data)
	if length <= 0 {
		r.fail("it ends too early")
		return 0
	}
	r.data = r.data[length:]
	if n > top {
		r.fail("a number in it is out of range")
		return 0
	}
	return n
}

// count reads how many things of at least size bytes follow.
func (r *snapshotReader) count(size int) int { return int(r.number(uint64(len(r.data) / size))) }

// maxTime is the latest time that the engine handles: the latest of an event
// and the longest duration.
const maxTime = maxUnixSeconds*1_000_000_000 + int64(MaxDuration)

func (r *snapshotReader) time() int64 {
	n := r.number(1<<64 - 1)
	if n == 0 {
		return 0
	}
	n--
	at := r.engine.now - (int64(n>>1) ^ -int64(n&1))
	if at <= 0 || at > maxTime {
		r.fail("a time in it is out of range")
		return 0
	}
	return at
}

func (r *snapshotReader) text() string { return string(r.bytes(int(r.number(maxNameLen)))) }

// head reads everything before the entries.
func (r *snapshotReader) head() {
	e := r.engine
	e.now = int64(r.number(uint64(maxTime)))
	for range r.number(255) {
		e.labels.words = append(e.labels.words, r.text())
	}
	for range r.number(MaxRules) {
		per := r.number(uint64(PerPrefix))
		id := [32]byte(r.bytes(32))
		if r.bad != "" || per == 0 {
			r.fail("it has a rule that is none")
			return
		}
		plan := -1
		for i := range e.plans {
			if e.plans[i].rule.Per == Per(per) && fingerprint(e.plans[i].rule) == id {
				plan = i
			}
		}
		r.plans = append(r.plans, plan)
		r.rules[per-1] = append(r.rules[per-1], plan)
	}
	n := r.count(2)
	r.names = make([]string, n)
	for i := range r.names {
		if r.names[i] = r.text(); r.names[i] == "" {
			r.fail("it has an empty name")
			return
		}
	}
}

// name reads a name and counts a reference to it.
func (r *snapshotReader) name() uint32 {
	n := r.number(uint64(len(r.names)))
	if n == 0 {
		return 0
	}
	return r.engine.names.refer(r.names[n-1])
}

func (r *snapshotReader) source() Source {
	b := r.bytes(9)
	s := Source{family: b[0], net: binary.LittleEndian.Uint64(b[1:])}
	if s.family != 0 && s.family != 4 && s.family != 6 || s.family == 4 && s.net>>32 != 0 || s.family == 0 && s.net != 0 {
		r.fail("it has a source that is none")
	}
	return s
}

func (r *snapshotReader) familiarity() familiarity {
	f := familiarity{first: r.time(), last: r.time()}
	if f.first > f.last {
		r.fail("a span in it ends before it begins")
	}
	return f
}

// flags reads what snapshotWriter.flags wrote.
func (r *snapshotReader) flags() (used, counted, block bool, c class) {
	f := r.bytes(1)[0]
	if c = class(f >> 3); c >= classes {
		r.fail("it has an unknown flag")
		c = classNew
	}
	return f&1 != 0, f&2 != 0, f&4 != 0, c
}

// notes returns what is to be noted of an entry.
func (r *snapshotReader) notes(used, counted bool, t *tally) (n note) {
	if used {
		n |= noteUsed
	}
	if counted {
		n |= noteCounted
	}
	if t.block != 0 {
		n |= noteHolds
	}
	return n
}

// entries reads how many entries there are, the two hands, and says how many
// entries have to be left out because the limit is lower now.
func (r *snapshotReader) entries(size, limit int, hand *uint32, s *side) (n, excess int) {
	n = r.count(size)
	hands := [2]uint32{uint32(r.number(uint64(n))), uint32(r.number(uint64(n)))}
	if excess = n - limit; excess <= 0 {
		*hand, s.hand = hands[0], hands[1]
	}
	return n, max(excess, 0)
}

func (r *snapshotReader) sources() {
	e := r.engine
	n, excess := r.entries(13, e.limits.Sources, &e.sources.hand, &e.bySource)
	for range n {
		if r.bad != "" {
			return
		}
		used, counted, block, class := r.flags()
		s := sourceState{source: r.source(), familiar: r.familiarity(), until: r.time()}
		s.offences = uint16(r.number(1<<16 - 1))
		s.action = Action(r.number(uint64(len(actionNames) - 1)))
		by := r.number(MaxRules)
		s.blamed = uint8(r.number(1<<8 - 1))
		s.flags = uint8(r.number(1<<8 - 1))
		s.users = uint32(r.number(1<<32 - 1))
		s.grace = uint32(r.number(1<<32 - 1))
		s.accepted = uint16(r.number(1<<16 - 1))
		s.knocked = uint32(r.number(1<<32 - 1))
		s.gap = uint32(r.number(1<<32 - 1))
		s.steady = uint8(r.number(1<<8 - 1))
		for i := range s.tried {
			s.tried[i] = uint32(r.number(1<<32 - 1))
		}
		if by < uint64(len(r.plans)) && r.plans[by] >= 0 {
			s.by = uint8(r.plans[by])
		} else {
			s.flags &^= climbing
		}
		if block {
			s.failed = ^uint32(0) // any user may be among them
		}
		hash := e.key.hash(s.source)
		if !s.source.IsValid() || e.find(s.source, hash) != 0 {
			r.fail("it has a source twice")
			return
		}
		keep := e.sources.len() < uint32(e.limits.Sources) && (excess == 0 || used)
		if !keep {
			excess = max(excess-1, 0)
		}
		r.windows(&e.bySource, PerSource, &s.tally, block, keep)
		if keep {
			i := e.sources.add()
			s.number = i
			*e.sources.at(i) = s
			e.sources.enter(i, class, r.notes(used, counted, &s.tally))
			e.index.put(hash, i)
		}
	}
}

func (r *snapshotReader) users() {
	e := r.engine
	n, excess := r.entries(14, e.limits.Users, &e.users.hand, &e.byUser)
	for range n {
		if r.bad != "" {
			return
		}
		used, counted, block, class := r.flags()
		u := userState{name: r.name()}
		r.homes(u.homes[:])
		r.homes(u.nets[:])
		u.doubt, u.grace = r.time(), r.time()
		if !r.before {
			u.country, u.there = uint16(r.number(1<<16-1)), r.time()
		}
		u.daily = math.Float32frombits(uint32(r.number(1<<32 - 1)))
		u.today = uint32(r.number(1<<32 - 1))
		u.day = int32(r.number(1<<31 - 1))
		u.lead = uint32(r.number(1 << 31))
		u.main = r.source()
		u.succeeded = class == classTrusted
		u.until = r.time()
		u.offences = uint16(r.number(1<<16 - 1))
		guard := int(r.number(MaxRules))
		if r.bad != "" || u.name == 0 || e.names.slots.at(u.name).user != 0 || u.until != 0 && guard >= len(r.plans) {
			r.fail("it has a user twice or without a rule")
			return
		}
		if u.until != 0 {
			if to := r.plans[guard]; to >= 0 {
				u.guard = uint8(to)
			} else {
				u.until = min(u.until, e.now)
			}
		}
		keep := e.users.len() < uint32(e.limits.Users) && (excess == 0 || used)
		if !keep {
			excess = max(excess-1, 0)
		}
		r.windows(&e.byUser, PerUser, &u.tally, block, keep)
		u.failed = u.block != 0
		if !keep {
			e.names.release(u.name)
			continue
		}
		i := e.users.add()
		u.number = i
		*e.users.at(i) = u
		e.users.enter(i, class, r.notes(used, counted, &u.tally))
		if u.succeeded {
			e.site.users++
		}
		e.names.slots.at(u.name).user = i
	}
}

func (r *snapshotReader) homes(all []home) {
	for i := range all {
		if all[i].source = r.source(); all[i].source.IsValid() {
			all[i].familiarity = r.familiarity()
		}
	}
}

// windows reads the windows of one entry and keeps those whose rules are
// still there, as far as the limit of observations allows.
func (r *snapshotReader) windows(s *side, per Per, t *tally, block, keep bool) {
	if !block {
		return
	}
	e := r.engine
	if keep && s.width > 0 {
		t.block = s.open()
	}
	for _, plan := range r.rules[per-1] {
		top := MaxThreshold
		var w *window
		if plan >= 0 && t.block != 0 {
			w = &s.windows(t.block)[e.plans[plan].window]
			top = max(e.plans[plan].rule.Threshold*4*point, MaxThreshold)
		}
		before := int64(0)
		for range r.number(uint64(top)) {
			o := r.observation()
			if r.bad == "" && o.at < before {
				r.fail("the order of time is broken in it")
			}
			if r.bad != "" {
				return
			}
			before = o.at
			if w != nil && e.seen.used < e.limits.Observations {
				e.link(s, w, &o)
			}
			e.names.release(o.user)
		}
	}
}

func (r *snapshotReader) observation() observation {
	var o observation
	o.at = r.time()
	o.line = r.number(1<<64 - 1)
	o.addr = [16]byte(r.bytes(16))
	o.user = r.name()
	b := r.bytes(4)
	o.kind, o.service, o.server, o.marks = Kind(b[0]), b[1], b[2], b[3]
	o.amount = uint32(r.number(maxRecipients))
	labels := len(r.engine.labels.words)
	if o.at == 0 || o.kind == 0 || int(o.kind) >= len(kindNames) || int(o.service) > labels || int(o.server) > labels ||
		o.amount == 0 {
		r.fail("it has an observation that is none")
	}
	return o
}
