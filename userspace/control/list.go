package control

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"

	"weir/policy"
)

// List is what a bulk request is about: every prefix of a text once, with its
// comment, sorted. Neighbours then stand next to each other in the agent's
// store as well, where pins in random order would have most of it written
// again with every chunk. As an io.Reader it is the body of the request.
type List struct {
	Wide  []netip.Prefix // the first that are very wide
	Wides int            // how many those are

	lines []Line       // by netip.Prefix.Compare
	next  int          // of lines to be read
	text  bytes.Buffer // written and not yet read
}

// maxTold is how many bad lines, or very wide prefixes, of a list are told.
const maxTold = 10

// ReadList reads lines, one "PREFIX [# comment]" each, to their end. Of those
// that mean the same prefix the last counts. One bad line condemns them all:
// half a list in force is worse than none. The error, which wraps ErrInvalid
// if the lines are at fault, tells the first bad ones as "name:line: what".
func ReadList(name string, lines io.Reader) (*List, error) {
	list := &List{}
	var bad []error
	more := 0
	for line, err := range Lines(bufio.NewReaderSize(lines, 64<<10)) {
		switch {
		case err == nil:
			list.lines = append(list.lines, line)
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
	case len(list.lines) == 0:
		return nil, invalidf("%s holds no prefix", name)
	}
	list.sort()
	return list, nil
}

// sort brings the lines in order, and drops those that a later one overrides.
func (l *List) sort() {
	slices.SortFunc(l.lines, func(a, b Line) int {
		// As netip.Prefix.Compare, which would mask what is masked already.
		if c := a.Prefix.Addr().Compare(b.Prefix.Addr()); c != 0 {
			return c
		}
		if c := a.Prefix.Bits() - b.Prefix.Bits(); c != 0 {
			return c
		}
		return b.Number - a.Number
	})
	l.lines = slices.CompactFunc(l.lines, func(a, b Line) bool { return a.Prefix == b.Prefix })
	for i := range l.lines {
		if p := l.lines[i].Prefix; VeryWide(p) {
			if l.Wides++; len(l.Wide) < maxTold {
				l.Wide = append(l.Wide, p)
			}
		}
	}
}

// Count returns how many prefixes l holds.
func (l *List) Count() int { return len(l.lines) }

// Read implements io.Reader.
func (l *List) Read(b []byte) (int, error) {
	for l.next < len(l.lines) && l.text.Len() < len(b) {
		line := &l.lines[l.next]
		l.text.Write(line.Prefix.AppendTo(l.text.AvailableBuffer()))
		if line.Comment != "" {
			l.text.WriteString(" # ")
			l.text.WriteString(line.Comment)
		}
		l.text.WriteByte('\n')
		l.next++
	}
	return l.text.Read(b)
}

// String names the prefixes for a message.
func (l *List) String() string {
	if l.Count() == 1 {
		return policy.PrefixString(l.lines[0].Prefix)
	}
	return strconv.Itoa(l.Count()) + " prefixes"
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
