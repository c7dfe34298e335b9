package policy

// Ahead is how many events Foresee looks at: what they touch must still be in
// the processor's cache when their turn comes.
const Ahead = 32

// foresight is where the parties of an event are, as far as that is known
// before it is judged.
type foresight struct {
	hash, nameHash     uint32
	source, name, user uint32 // numbers
}

// Foresee fetches what the first Ahead of events will need into the processor's
// cache, and changes nothing. Whoever has several events to observe calls it
// before each Ahead of them: with full tables the time goes into waiting for
// memory, and this waits for several events at once. It goes step by step for
// all of them, because each step needs what the one before has fetched, and the
// fetches of one step do not wait for each other.
func (e *Engine) Foresee(events []Event) {
	if len(events) < 2 {
		return
	}
	events = events[:min(Ahead, len(events))]
	var all [Ahead]foresight
	sum := uint64(0)
	for i := range events {
		if ev := &events[i]; ev.User != "" {
			sum += uint64(ev.User[0])
		}
	}
	for i := range events {
		ev, f := &events[i], &all[i]
		f.hash = e.key.hash(SourceOf(ev.Source))
		sum += e.index.peek(f.hash)
		if ev.User != "" {
			f.nameHash = e.names.hash(bounded(ev.User))
			sum += e.names.index.peek(f.nameHash)
		}
	}
	for i := range events {
		f := &all[i]
		at := f.hash
		if f.source = e.index.probe(f.hash, &at); f.source != 0 {
			sum += e.sources.at(f.source).fetch() + uint64(*e.sources.notes.at(f.source))
		}
		if at = f.nameHash; events[i].User != "" {
			if f.name = e.names.index.probe(f.nameHash, &at); f.name != 0 {
				sum += uint64(e.names.slots.at(f.name).user)
			}
		}
	}
	for i := range events {
		f := &all[i]
		if f.name != 0 {
			slot := e.names.slots.at(f.name)
			sum += uint64(slot.name[0])
			if f.user = slot.user; f.user != 0 {
				sum += e.users.at(f.user).fetch()
			}
		}
		if f.source != 0 {
			if s := e.sources.at(f.source); s.block != 0 {
				for _, w := range e.bySource.windows(s.block) {
					sum += uint64(w.first)
				}
			}
		}
	}
	for i := range events {
		f := &all[i]
		if f.user != 0 {
			if u := e.users.at(f.user); u.block != 0 {
				for _, w := range e.byUser.windows(u.block) {
					sum += uint64(w.first)
				}
			}
		}
		if f.source != 0 {
			if s := e.sources.at(f.source); s.block != 0 {
				for _, w := range e.bySource.windows(s.block) {
					if w.first != 0 {
						sum += uint64(e.seen.at(w.first).next)
					}
				}
			}
		}
	}
	e.foreseen += sum
}

// fetch reads something of each cache line of s.
func (s *sourceState) fetch() uint64 { return s.source.net + uint64(s.tried[0]) + uint64(s.by) }

// fetch reads something of each cache line of u.
func (u *userState) fetch() (sum uint64) {
	for i := 0; i < len(u.homes); i += 2 { // 64 bytes
		sum += u.homes[i].source.net
	}
	for i := 0; i < len(u.nets); i += 2 {
		sum += u.nets[i].source.net
	}
	return sum + uint64(u.until) + u.main.net
}
