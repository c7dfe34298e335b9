package store

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// bucketID names a bucket in checksums; its String names it in the file.
type bucketID byte

const (
	bucketMeta bucketID = iota
	bucketAutomatic
	bucketPins
	bucketCheckpoint
	bucketCount
)

func (b bucketID) String() string {
	return [...]string{"meta", "automatic", "pins", "checkpoint"}[b]
}

func bucketNamed(name string) (bucketID, bool) {
	for id := range bucketCount {
		if name == id.String() {
			return id, true
		}
	}
	return 0, false
}

// tally is the number of a bucket's records and the sum of their checksums.
// It is kept with the records, and tells when some of them are gone.
type tally struct{ count, sum uint64 }

func (t *tally) add(sum uint32)    { t.count++; t.sum += uint64(sum) }
func (t *tally) remove(sum uint32) { t.count--; t.sum -= uint64(sum) }

type tallies [bucketCount]tally

// formatVersion is the version of the file as a whole.
const formatVersion = 1

var keyFormat = []byte("format") // in bucketMeta: the version and the tallies

func (t *tallies) encode() []byte {
	b := []byte{formatVersion}
	for i := range t {
		b = binary.BigEndian.AppendUint64(b, t[i].count)
		b = binary.BigEndian.AppendUint64(b, t[i].sum)
	}
	return b
}

func (t *tallies) decode(b []byte) error {
	if len(b) == 0 {
		return errShort
	}
	if b[0] != formatVersion {
		return fmt.Errorf("%w: format %d, this weir knows %d", ErrVersion, b[0], formatVersion)
	}
	if len(b) != 1+len(t)*16 {
		return errShort
	}
	for i := range t {
		t[i].count = binary.BigEndian.Uint64(b[1+i*16:])
		t[i].sum = binary.BigEndian.Uint64(b[9+i*16:])
	}
	return nil
}

// record is one stored record as it stands in the file, checksum included.
type record struct {
	bucket     bucketID
	key, value []byte // valid until the visitor returns
}

// scanned is what a whole look at the file found.
type scanned struct {
	empty    bool // nothing was ever written
	format   error
	expected *tallies // as the file says; nil if that is unreadable
	found    tallies  // records whose checksum is right
	damage   []string
	damaged  int
}

// taker is given what is found to be sound: how many records there should be,
// if that can be told, and then the records.
type taker interface {
	expect(tallies)
	take(record)
}

// takeFunc takes records.
type takeFunc func(record)

func (takeFunc) expect(tallies)    {}
func (f takeFunc) take(rec record) { f(rec) }

// scan reads all of the file without trusting any of it and gives every
// record whose checksum is right to good. A damaged tree may lead into pages
// that are free, where removed records still stand: with wary, those are not
// entered.
func scan(r io.ReaderAt, size int64, wary bool, good taker) *scanned {
	im, err := openImage(r, size)
	if err != nil {
		return &scanned{damage: []string{err.Error()}, damaged: 1}
	}
	s := &scanned{}
	if wary {
		im.claimFree()
	}
	buckets := im.buckets()
	slices.SortStableFunc(buckets, func(a, b bucket) int { return cmp.Compare(rank(a), rank(b)) })
	for _, b := range buckets {
		id, known := bucketNamed(b.name)
		if !known {
			im.note("bucket %q is unknown", b.name)
			continue
		}
		im.walkBucket(b, func(flags uint32, key, value []byte) { s.visit(im, id, flags, key, value, good) })
	}
	if !wary {
		im.claimFree()
	}
	im.claimRest()
	s.empty = len(buckets) == 0 && im.damaged == 0
	if !s.empty {
		s.compare(im)
	}
	s.damage, s.damaged = im.damage, im.damaged
	return s
}

// rank has the tallies come before what they are of.
func rank(b bucket) int {
	if b.name == bucketMeta.String() {
		return 0
	}
	return 1
}

func (s *scanned) visit(im *image, id bucketID, flags uint32, key, value []byte, good taker) {
	plain, sum, err := unseal(id, key, value)
	switch {
	case err != nil:
	case flags != 0:
		err = fmt.Errorf("element flags %#x", flags)
	case id == bucketMeta:
		var t tallies
		if err = t.decode(plain); err == nil {
			s.expected = &t
			good.expect(t)
		} else {
			s.format = err
		}
	}
	if err != nil {
		im.note("%v: record %q: %v", id, printable(key), err)
		return
	}
	if id != bucketMeta {
		s.found[id].add(sum)
		good.take(record{bucket: id, key: key, value: value})
	}
}

// compare notes what should be there and is not.
func (s *scanned) compare(im *image) {
	if s.expected == nil {
		im.note("the tally of records is unreadable")
		return
	}
	for id := range bucketCount {
		if !s.whole(id) {
			im.note("%v: %d of %d records are as they were written", id, s.found[id].count, s.expected[id].count)
		}
	}
}

// whole reports whether every record of the bucket is there.
func (s *scanned) whole(id bucketID) bool {
	return s.expected != nil && s.found[id] == s.expected[id]
}

// lost is how many records of a bucket are missing, −1 if unknown.
func (s *scanned) lost(id bucketID) int {
	if s.expected == nil {
		return -1
	}
	return int(int64(s.expected[id].count) - int64(s.found[id].count))
}

// printable names a record's target in messages.
func printable(key []byte) string {
	if t, err := parseKey(key); err == nil {
		return t.String()
	}
	return fmt.Sprintf("%x", key)
}
