package maillog

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// interner gives equal names one string. It keeps two generations, and drops
// the elder one when the younger is full, so that names in use stay and the
// memory is bounded.
type interner struct {
	young, old map[string]string
	size       int
}

func newInterner(size int) interner {
	return interner{young: make(map[string]string), old: make(map[string]string), size: size}
}

// name returns b as a user name: cut to maxUserLen, and without the control
// bytes and broken UTF-8 that a terminal or a JSON reader would stumble on.
func (in *interner) name(b []byte) string {
	b = b[:min(len(b), maxUserLen)]
	if len(b) == 0 {
		return ""
	}
	if s, ok := in.young[string(b)]; ok {
		return s
	}
	raw := string(b)
	s, ok := in.old[raw]
	if !ok {
		s = clean(raw)
	}
	if len(in.young) >= in.size {
		in.old, in.young = in.young, in.old
		clear(in.young) // and keeps its room
	}
	in.young[raw] = s
	return s
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
