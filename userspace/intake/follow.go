package intake

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// lateGrace is how long a rotated file is still looked at after its successor
// was written to: where many processes write one log, as with Exim, one of
// them may have stood between opening and writing.
const lateGrace = 5 * time.Second

// Reasons for losses of files.
const (
	lostTruncated = "log truncated with no copy left: what was written since the last look"
	lostGone      = "log rotated away while not followed, and found under no rotated name"
	lostPacked    = "rotated log compressed before it was read, and not by gzip"
	lostDamaged   = "rotated log damaged"
)

// follower is the state machine behind [File.Run]. A poll reads all there is;
// nothing happens in between, so tests drive it step by step.
//
// A file is left only when its successor has data: until then the writer may
// not have been told of the rotation.
type follower struct {
	o    FileOptions
	m    *meter
	sink Sink
	now  func() time.Time

	want      *Position // to be found before anything else
	reason    string    // of the loss, if want is not found
	cur       *tail     // nil: nothing to read from yet
	late      *tail     // the one before, until lateUntil
	lateUntil time.Time
	fresh     bool      // nothing was read yet: rotated files are none of ours
	seen      time.Time // all files modified until then, but cur, have been read
	lines     uint64    // delivered
	batch     []Record
}

func newFollower(o FileOptions, m *meter, from Position, sink Sink) *follower {
	return &follower{
		o: o, m: m, sink: sink, now: time.Now,
		want: &from, reason: lostGone, seen: from.Time, lines: from.Lines,
	}
}

func (f *follower) close() {
	for _, t := range []*tail{f.cur, f.late} {
		if t != nil {
			t.close()
		}
	}
	f.cur, f.late = nil, nil
}

// poll reads all there is, through any number of rotations. It returns only
// errors of the sink.
func (f *follower) poll() (progress bool, err error) {
	before := f.lines
	for more := true; more; {
		more, err = f.step()
		switch {
		case errors.Is(err, errMoved):
			more = true
		case errors.Is(err, errLater):
		case err != nil:
			return false, err
		}
	}
	return f.lines != before, nil
}

// step reads the current file to its end and goes on to the next, if there is
// one. An error is errLater, errMoved or of the sink.
func (f *follower) step() (more bool, err error) {
	if f.want != nil {
		if *f.want == (Position{}) {
			err = f.begin()
		} else {
			err = f.resume(*f.want)
		}
		if err != nil {
			return false, err
		}
		f.want = nil
	}
	if err := f.drainLate(); err != nil {
		return false, err
	}
	if f.cur != nil {
		if intact, err := f.drain(f.cur); err != nil {
			return false, err
		} else if !intact {
			return f.truncated()
		}
	}
	return f.advance()
}

// later turns a trouble that may have passed by the next poll into errLater,
// and tells of it. While files are being renamed it is not worth telling.
func (f *follower) later(err error) error {
	if errors.Is(err, errMoved) {
		return err
	}
	f.m.trouble(err)
	return errLater
}

// begin takes up a log that was never read. The sink gets its position at
// once, lest a restart before the first record begin at the end again.
func (f *follower) begin() error {
	f.seen, f.fresh = f.now(), true
	name := f.o.Path
	if log, err := statLog(name); err == nil {
		name = log.path
	}
	t, err := openTail(name, 0, f.o.MaxLine)
	if errors.Is(err, fs.ErrNotExist) {
		return f.sink(nil, Position{Path: f.o.Path, Time: f.seen})
	}
	if err == nil && !f.o.FromStart {
		var end int64
		if end, err = t.lastLine(f.o.MaxLine); err == nil {
			err = t.begin(end)
		}
		if err != nil {
			t.close()
		}
	}
	if err != nil {
		return f.later(err)
	}
	f.cur = t
	return f.sink(nil, f.position(t))
}

// resume finds the file that p tells of, whatever became of it: by inode, or
// by its first bytes if it was copied or compressed. If it is gone, and another
// has the log's name, a loss is counted, and the oldest file younger than p is
// next.
func (f *follower) resume(p Position) error {
	if p.Inode == 0 {
		f.fresh = true // there was no log then
		return nil
	}
	list, err := family(f.o.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f.later(err)
	}
	i, err := find(list, p)
	if err != nil {
		return f.later(err)
	}
	if n := len(list); i < 0 && (n == 0 || !list[n-1].current) {
		f.absent() // it may come back as it was
		return errLater
	}
	if i < 0 {
		f.m.lost(f.reason, 1, f.now())
		return nil
	}
	t, err := list[i].open(p.Offset, f.o.MaxLine)
	if err != nil {
		return f.later(err)
	}
	if p.Head.Length > 0 && !t.begins(p.Head) {
		t.close()
		return errMoved // truncated since it was found
	}
	t.sealed = t.sealed || t.id != p.identity() && !list[i].current
	f.cur = t
	return nil
}

// absent tells that there is no log.
func (f *follower) absent() {
	f.m.trouble(fmt.Errorf("log file %s does not exist (yet); waiting for it", f.o.Path))
	f.m.state(StateWaiting)
}

// truncated deals with a file that no longer holds what was read from it.
// Where it was copied first (logrotate's copytruncate), reading goes on in the
// copy.
func (f *follower) truncated() (more bool, err error) {
	t := f.cur
	f.m.log.Info("log was truncated", "path", t.path, "offset", t.offset)
	f.m.truncated()
	p := f.position(t)
	f.want, f.reason = &p, lostTruncated
	f.cur = nil
	t.close()
	return true, nil
}

// advance goes on to the successor of the current file, which was read to its
// end, if there is one and the writer has moved on to it.
func (f *follower) advance() (more bool, err error) {
	log, err := statLog(f.o.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.absent()
	case err != nil:
		f.m.trouble(err)
		f.m.state(StateWaiting)
	default:
		f.m.trouble(nil)
		f.m.state(StateFollowing)
		if f.cur != nil && f.cur.id == log.id && !f.cur.sealed {
			f.seen = f.now()
			return false, nil
		}
	}
	next, packed, err := f.successor()
	if err != nil {
		return false, f.later(err)
	}
	if next == nil || next.current && next.size == 0 {
		return false, nil
	}
	t, err := next.open(0, f.o.MaxLine)
	if err != nil {
		return false, f.later(err)
	}
	if err := f.confirm(next); err != nil {
		t.close()
		return false, f.later(err)
	}
	if packed > 0 {
		f.m.lost(lostPacked, uint64(packed), f.now())
	}
	if err := f.leave(); err != nil {
		t.close()
		return false, err
	}
	f.cur, f.fresh = t, false
	return true, nil
}

// confirm returns errMoved if next, which was opened, is not what follows the
// current file: another rotation came between looking and opening.
func (f *follower) confirm(next *sibling) error {
	again, _, err := f.successor()
	if err == nil && (again == nil || again.id != next.id || again.current != next.current) {
		return errMoved
	}
	return err
}

// leave finishes the current file after its successor was seen to have data:
// what the writer put into it is complete now.
func (f *follower) leave() error {
	t := f.cur
	if t == nil {
		return nil
	}
	if _, err := f.drain(t); err != nil {
		return err
	}
	if line, cut, ok := t.rest(); ok {
		f.add(line, cut)
		if err := f.flush(t); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if t.stat(&st) == nil {
		if m := time.Unix(st.Mtim.Unix()); m.After(f.seen) {
			f.seen = m
		}
	}
	if f.late != nil {
		f.late.close()
		f.late = nil
	}
	if t.sealed {
		t.close()
	} else {
		f.late, f.lateUntil = t, f.now().Add(lateGrace)
	}
	f.cur = nil
	return nil
}

// successor returns the file that was begun after the current one, nil when
// there is none, and how many were passed over because they cannot be read.
func (f *follower) successor() (next *sibling, packed int, err error) {
	list, err := family(f.o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	} else if err != nil {
		return nil, 0, err
	}
	first := 0
	if f.cur != nil {
		i, err := f.place(list)
		if err != nil {
			return nil, 0, err
		}
		first = i + 1
	}
	for i, s := range list[first:] {
		switch {
		case s.current:
			return &list[first+i], packed, nil
		case s.kind == foreign, s.size == 0, f.fresh && f.cur == nil,
			first == 0 && !s.modified.After(f.seen):
			continue
		}
		if ok, err := copied(s, list[len(list)-1]); err != nil {
			return nil, 0, err
		} else if ok {
			continue
		}
		if s.readable() {
			return &list[first+i], packed, nil
		}
		packed++
	}
	return nil, 0, nil
}

// place returns the index of the current file in list, or of what was made of
// it; −1 if neither is there. An open file's inode is nobody else's.
func (f *follower) place(list []sibling) (int, error) {
	if i := slices.IndexFunc(list, func(s sibling) bool { return s.id == f.cur.id }); i >= 0 {
		return i, nil
	}
	return find(list, f.position(f.cur))
}
