package control

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"

	"weir/policy"
)

// List is what a bulk request is about: lines that were read to their end
// once and found good, ready to be read again. It holds none of them, however
// many they are.
type List struct {
	io.ReadSeeker
	Count int            // of prefixes
	One   netip.Prefix   // the first
	Wide  []netip.Prefix // the first of those that are very wide
	Wides int            // how many of those there are
}

// maxTold is how many bad lines, or very wide prefixes, of a list are told.
const maxTold = 10

// CheckList reads lines, one "PREFIX [# comment]" each, to their end and goes
// back to their start. One bad line condemns them all: half a list in force
// is worse than none. The error, which wraps ErrInvalid if the lines are at
// fault, tells the first bad ones as "name:line: what".
func CheckList(name string, lines io.ReadSeeker) (*List, error) {
	list := &List{ReadSeeker: lines}
	var bad []error
	more := 0
	for line, err := range Lines(bufio.NewReaderSize(lines, 64<<10)) {
		switch {
		case err == nil:
			list.add(line.Prefix)
		case !errors.Is(err, ErrInvalid):
			return nil, fmt.Errorf("read %s: %w", name, err)
		case len(bad) == maxTold:
			more++
		default:
			bad = append(bad, fmt.Errorf("%s:%d: %w", name, line.Number, errors.Unwrap(err)))
		}
	}
	switch {
	case len(bad) > 0:
		if more > 0 {
			bad = append(bad, fmt.Errorf("bad lines that are not shown: %d", more))
		}
		return nil, fmt.Errorf("%w\nnothing was changed: a list is taken whole or not at all", errors.Join(bad...))
	case list.Count == 0:
		return nil, invalidf("%s holds no prefix", name)
	}
	if _, err := lines.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read %s again: %w", name, err)
	}
	return list, nil
}

func (l *List) add(p netip.Prefix) {
	if l.Count++; l.Count == 1 {
		l.One = p
	}
	if VeryWide(p) {
		if l.Wides++; len(l.Wide) < maxTold {
			l.Wide = append(l.Wide, p)
		}
	}
}

// String names the prefixes for a message.
func (l *List) String() string {
	if l.Count == 1 {
		return policy.PrefixString(l.One)
	}
	return strconv.Itoa(l.Count) + " prefixes"
}

// VeryWide reports whether p is more than one organisation is likely to
// hold: beyond an IPv4 /16, or an IPv6 /32, which is what a provider gets.
func VeryWide(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() < 16
	}
	return p.Bits() < 32
}

// Judged returns how p, which the operator wrote as named, is judged, and
// whether that is something else than what was named.
func Judged(named string, p netip.Prefix) (string, bool) {
	if q, err := netip.ParsePrefix(named); err == nil && q == p {
		return policy.PrefixString(p), false
	}
	addr, err := netip.ParseAddr(named)
	return policy.PrefixString(p), err != nil || addr != p.Addr() || !p.IsSingleIP()
}
