package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"weir/policy"
	"weir/userspace/control"
)

// prefixList is what a pin or an unpin is about: lines that were read to
// their end once and found good, ready to be read again. It is on disk, not
// in memory, however long it is.
type prefixList struct {
	io.ReadSeeker
	count int            // of prefixes
	one   netip.Prefix   // the only one, if count is 1
	wide  []netip.Prefix // the first of those that are very wide
	wides int            // how many of those there are
	close func()
}

// listedErrors is how many bad lines of a list are told.
const listedErrors = 10

// openPrefixes reads the prefixes that args name, or the list in the file
// from ("-": standard input).
func (a *app) openPrefixes(cmd *cobra.Command, args []string, from string) (*prefixList, error) {
	switch {
	case from == "" && len(args) == 0:
		return nil, usagef(cmd, "name a source, or a list of them with --from FILE")
	case from != "" && len(args) > 0:
		return nil, usagef(cmd, "name sources or --from FILE, not both")
	case from == "":
		for _, arg := range args {
			p, err := control.ParsePrefix(arg)
			if err != nil {
				return nil, usage(cmd, err)
			}
			a.sayJudged(arg, p)
		}
		return checkPrefixes("", &prefixList{ReadSeeker: strings.NewReader(strings.Join(args, "\n")), close: func() {}})
	case from == "-":
		return spool("standard input", a.stdin)
	}
	f, err := os.Open(from)
	if err != nil {
		return nil, usage(cmd, err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		defer func() { _ = f.Close() }() // only read
		return spool(from, f)
	}
	return checkPrefixes(from, &prefixList{ReadSeeker: f, close: func() { _ = f.Close() }})
}

// sayJudged tells when what the operator named is judged as something wider.
func (a *app) sayJudged(named string, p netip.Prefix) {
	if q, err := netip.ParsePrefix(named); err == nil && q == p {
		return
	}
	if judged := policy.PrefixString(p); judged != named {
		if addr, err := netip.ParseAddr(named); err == nil && addr == p.Addr() && p.IsSingleIP() {
			return
		}
		fmt.Fprintf(a.stderr, "%s is judged as %s\n", named, judged)
	}
}

// spool copies a list that can be read only once.
func spool(name string, r io.Reader) (*prefixList, error) {
	f, err := os.CreateTemp("", "weir-list-")
	if err != nil {
		return nil, fmt.Errorf("keep %s: %w", name, err)
	}
	list := &prefixList{ReadSeeker: f, close: func() { _ = f.Close() }}
	err = os.Remove(f.Name()) // it is gone when it is closed
	if err == nil {
		_, err = io.Copy(f, r)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		list.close()
		return nil, fmt.Errorf("keep %s: %w", name, err)
	}
	return checkPrefixes(name, list)
}

// checkPrefixes reads list to its end and back to its start. One bad line
// condemns it: half a list in force is worse than none.
func checkPrefixes(name string, list *prefixList) (*prefixList, error) {
	err := list.check(name)
	if err == nil {
		_, err = list.Seek(0, io.SeekStart)
	}
	if err != nil {
		list.close()
		return nil, err
	}
	return list, nil
}

func (l *prefixList) check(name string) error {
	var bad []error
	more := 0
	for line, err := range control.Lines(bufio.NewReaderSize(l, 64<<10)) {
		switch {
		case errors.Is(err, control.ErrInvalid):
			if len(bad) == listedErrors {
				more++
				continue
			}
			bad = append(bad, fmt.Errorf("%s:%d: %w", name, line.Number, errors.Unwrap(err)))
		case err != nil:
			return fmt.Errorf("read %s: %w", name, err)
		default:
			l.add(line.Prefix)
		}
	}
	if len(bad) > 0 {
		if more > 0 {
			bad = append(bad, fmt.Errorf("and %s more", plural(more, "bad line")))
		}
		return fmt.Errorf("%w\nnothing was changed: a list is taken whole or not at all", errors.Join(bad...))
	}
	if l.count == 0 {
		return fmt.Errorf("%s holds no prefix: %w", name, control.ErrInvalid)
	}
	return nil
}

func (l *prefixList) add(p netip.Prefix) {
	if l.count++; l.count == 1 {
		l.one = p
	}
	if veryWide(p) {
		if l.wides++; len(l.wide) < listedErrors {
			l.wide = append(l.wide, p)
		}
	}
}

// veryWide reports whether p is more than one organisation is likely to
// hold: beyond an IPv4 /16 or an IPv6 /32, which is what a provider gets.
func veryWide(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() < 16
	}
	return p.Bits() < 32
}

// String names the prefixes for a message.
func (l *prefixList) String() string {
	if l.count == 1 {
		return policy.PrefixString(l.one)
	}
	return count(l.count) + " prefixes"
}

// is returns the verb that goes with String.
func (l *prefixList) is() string {
	if l.count == 1 {
		return "is"
	}
	return "are"
}
