package agent

import (
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
	"time"

	"weir/policy"
)

// The state of tellings is a version, when the young generation was begun and
// when the last report was heard (nanoseconds since 1970), and two generations
// of balances, the young one first, each behind its length. Numbers are
// varints. Lines that are held are no part of it: they are judged before a
// checkpoint is taken.

const tellingsVersion = 1

var errTellings = errors.New("the tellings of logins cannot be read")

// save returns a copy for MarshalBinary.
func (t *tellings) save() *tellings {
	if t == nil {
		return nil
	}
	return &tellings{young: maps.Clone(t.young), old: maps.Clone(t.old), turned: t.turned, reported: t.reported}
}

// MarshalBinary writes what one side has told of and the other has not yet.
func (t *tellings) MarshalBinary() ([]byte, error) {
	b := []byte{tellingsVersion}
	if t == nil {
		t = new(tellings)
	}
	b = binary.AppendVarint(b, nanoseconds(t.turned))
	b = binary.AppendVarint(b, nanoseconds(t.reported))
	for _, generation := range []map[attemptKey]balance{t.young, t.old} {
		b = binary.AppendVarint(b, int64(len(generation)))
		for key, balance := range generation {
			source, err := key.source.MarshalBinary()
			if err != nil {
				return nil, err
			}
			b = appendCounted(b, source)
			b = appendCounted(b, []byte(key.user))
			b = binary.AppendVarint(b, int64(key.kind))
			b = binary.AppendVarint(b, int64(balance.reports))
			b = binary.AppendVarint(b, int64(balance.lines))
		}
	}
	return b, nil
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func appendCounted(b, text []byte) []byte {
	return append(binary.AppendVarint(b, int64(len(text))), text...)
}

// UnmarshalBinary replaces what is told by what MarshalBinary wrote. On an
// error nothing changes.
func (t *tellings) UnmarshalBinary(data []byte) error {
	if t == nil {
		return nil
	}
	if len(data) == 0 || data[0] != tellingsVersion {
		return errTellings
	}
	r := tellingsReader{rest: data[1:]}
	next := tellings{turned: r.time(), reported: r.time(), young: r.generation(), old: r.generation()}
	if r.bad || len(r.rest) > 0 {
		return errTellings
	}
	t.turned, t.reported, t.young, t.old = next.turned, next.reported, next.young, next.old
	return nil
}

// tellingsReader reads the state. Once it is bad, all it reads is zero.
type tellingsReader struct {
	rest []byte
	bad  bool
}

func (r *tellingsReader) number() int64 {
	n, size := binary.Varint(r.rest)
	if size <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *tellingsReader) time() time.Time {
	if n := r.number(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

func (r *tellingsReader) counted() []byte {
	n := r.number()
	if n < 0 || n > int64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	text := r.rest[:n]
	r.rest = r.rest[n:]
	return text
}

func (r *tellingsReader) generation() map[attemptKey]balance {
	n := r.number()
	if n < 0 || n > maxTold {
		r.bad, r.rest = true, nil
	}
	told := make(map[attemptKey]balance)
	for ; n > 0 && !r.bad; n-- {
		var key attemptKey
		source := r.counted()
		key.user, key.kind = string(r.counted()), policy.Kind(r.number())
		b := balance{reports: int32(r.number()), lines: int32(r.number())}
		var err error
		if key.source, err = addressOf(source); err != nil || b.reports < 0 || b.lines < 0 || key.kind != policy.AuthSuccess && key.kind != policy.AuthFailure {
			r.bad, r.rest = true, nil
		}
		told[key] = b
	}
	return told
}

func addressOf(b []byte) (addr netip.Addr, err error) {
	err = addr.UnmarshalBinary(b)
	return addr, err
}
