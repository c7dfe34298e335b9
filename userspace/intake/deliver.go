package intake

import (
	"bytes"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// errLater ends a poll whose trouble was told and may have passed by the next.
var errLater = errors.New("try again later")

// drain delivers everything that stands in t up to its last newline. It is
// not intact if its beginning has changed; what was read since is dropped.
func (f *follower) drain(t *tail) (intact bool, err error) {
	for {
		n, err := t.fill()
		if err == nil {
			intact, err = t.intact()
		} else if t.unpack != nil {
			f.m.trouble(err)
			f.m.lost(lostDamaged, 1, f.now())
			t.unpack = bytes.NewReader(nil)
			return true, nil
		}
		if err != nil {
			return false, f.later(err)
		}
		if !intact {
			return false, nil
		}
		if n == 0 {
			return f.ended(t)
		}
		for {
			line, cut, ok := t.next()
			if !ok {
				break
			}
			f.add(line, cut)
		}
		if err := f.flush(t); err != nil {
			return false, err
		}
	}
}

// ended deals with a file that gave no more data. If it ends before where it
// was read, and begins as it did even after that was seen, it is the same file
// with its end taken off: what remains was delivered, what is appended will be.
func (f *follower) ended(t *tail) (intact bool, err error) {
	var st unix.Stat_t
	if t.sealed || t.stat(&st) != nil || st.Size >= t.read {
		return true, nil
	}
	if intact, err = t.intact(); err != nil {
		return false, f.later(err)
	}
	if intact {
		f.m.log.Info("log was cut short", "path", t.path, "from", t.read, "to", st.Size)
		t.split.reset()
		t.read, t.offset = st.Size, st.Size
	}
	return intact, nil
}

// drainLate delivers what was written to the last file after it was left.
// Positions do not tell of it: if weir is stopped within those seconds, a line
// that comes that late is lost.
func (f *follower) drainLate() error {
	if f.late == nil || f.cur == nil {
		return nil
	}
	if _, err := f.drain(f.late); err != nil {
		return err
	}
	if f.now().After(f.lateUntil) {
		f.late.close()
		f.late = nil
	}
	return nil
}

func (f *follower) add(line []byte, cut bool) {
	f.lines++
	f.batch = append(f.batch, Record{Line: line, Number: f.lines})
	if cut {
		f.m.cut()
	}
}

// flush hands the batch, which was read from t, to the sink.
func (f *follower) flush(t *tail) error {
	if len(f.batch) == 0 {
		return nil
	}
	p := f.position(t)
	if t == f.late {
		p = f.position(f.cur)
	}
	var st unix.Stat_t
	if !t.sealed && t.stat(&st) == nil {
		f.m.lag(p.Time.Sub(time.Unix(st.Mtim.Unix())), st.Size-t.read)
		if st.Size > t.read {
			f.m.state(StateCatchingUp)
		}
	}
	var size uint64
	for i := range f.batch {
		size += uint64(len(f.batch[i].Line)) + 1
	}
	err := f.sink(f.batch, p)
	if err == nil {
		f.m.delivered(len(f.batch), size, p.Time)
	}
	f.batch = f.batch[:0]
	return err
}

// position is where the next record of t will be read from.
func (f *follower) position(t *tail) Position {
	return Position{
		Path: t.path, Device: t.id.dev, Inode: t.id.ino,
		Offset: t.offset, Head: t.fingerprint(),
		Time: f.now(), Lines: f.lines,
	}
}
