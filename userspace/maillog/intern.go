package maillog

import (
	"hash/maphash"
	"strings"
	"unicode"
	"unicode/utf8"
)

// interner gives equal names one string, until other names have taken its place. It
// is a table of buckets: a name is in that of its hash or nowhere. When it is too
// small, or holds too much, it begins anew, and names in use come back. The hash is
// keyed, as attackers choose names.
type interner struct {
	buckets []nameBucket // a power of two of them
	most    int          // buckets at most
	taken   int          // places
	bytes   int          // of the names
	seed    maphash.Seed
}

type nameBucket [4]struct{ written, name string } // "" is free; free ones come last

const (
	fewBuckets   = 1 << 6 // to begin with
	maxNameBytes = 16 << 20
)

func newInterner(names int) interner {
	return interner{most: names / len(nameBucket{}), seed: maphash.MakeSeed()}
}

// name returns b as a user name: cut to maxUserLen, and without the control
// bytes and broken UTF-8 that a terminal or a JSON reader would stumble on.
func (in *interner) name(b []byte) string {
	b = b[:min(len(b), maxUserLen)]
	if len(b) == 0 {
		return ""
	}
	if small := len(in.buckets) < in.most && in.taken >= len(in.buckets); small || in.bytes > maxNameBytes {
		size := len(in.buckets)
		if small {
			size = min(in.most, max(fewBuckets, 4*size))
		}
		in.buckets, in.taken, in.bytes = make([]nameBucket, size), 0, 0
	}
	hash := maphash.Bytes(in.seed, b)
	bucket := &in.buckets[hash&uint64(len(in.buckets)-1)]
	place := hash >> 62 // whose place it takes if none is free
	for i := range bucket {
		if bucket[i].written == string(b) {
			return bucket[i].name
		}
		if bucket[i].written == "" {
			in.taken++
			place = uint64(i)
			break
		}
	}
	into := &bucket[place]
	in.bytes -= len(into.written) + len(into.name)
	into.written = string(b)
	into.name = clean(into.written)
	in.bytes += len(into.written) + len(into.name)
	return into.name
}

// clean replaces what cannot be shown.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || c == utf8.RuneError {
			return '?'
		}
		return c
	}, s)
}
