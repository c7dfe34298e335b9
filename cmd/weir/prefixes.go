package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"weir/userspace/control"
)

// openList reads the prefixes that args name, or the list in the file from
// ("-": standard input), and hands them to use. They are on disk, not in
// memory, however many they are.
func (a *app) openList(cmd *cobra.Command, args []string, from string, use func(*control.List) error) error {
	name, lines, err := a.openLines(cmd, args, from)
	if err != nil {
		return err
	}
	if c, ok := lines.(io.Closer); ok {
		defer func() { _ = c.Close() }() // it was only read
	}
	list, err := control.CheckList(name, lines)
	if err != nil {
		return err
	}
	return use(list)
}

func (a *app) openLines(cmd *cobra.Command, args []string, from string) (name string, lines io.ReadSeeker, err error) {
	switch {
	case from == "" && len(args) == 0:
		return "", nil, usagef(cmd, "name a source, or a list of them with --from FILE")
	case from != "" && len(args) > 0:
		return "", nil, usagef(cmd, "name sources or --from FILE, not both")
	case from == "":
		for _, arg := range args {
			p, err := control.ParsePrefix(arg)
			if err != nil {
				return "", nil, usage(cmd, err)
			}
			a.sayJudged(arg, p)
		}
		return "", strings.NewReader(strings.Join(args, "\n")), nil
	case from == "-":
		lines, err = spool("standard input", a.stdin)
		return "standard input", lines, err
	}
	f, err := os.Open(from)
	if err != nil {
		return "", nil, usage(cmd, err)
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		return from, f, nil
	}
	defer func() { _ = f.Close() }() // it was only read
	lines, err = spool(from, f)
	return from, lines, err
}

// sayJudged tells when what the operator named is judged as something wider.
func (a *app) sayJudged(named string, p netip.Prefix) {
	if judged, differs := control.Judged(named, p); differs {
		fmt.Fprintf(a.stderr, "%s is judged as %s\n", named, judged)
	}
}

// spool copies what can be read only once to where it can be read again.
func spool(name string, r io.Reader) (io.ReadSeeker, error) {
	f, err := os.CreateTemp("", "weir-list-")
	if err != nil {
		return nil, fmt.Errorf("keep %s: %w", name, err)
	}
	err = os.Remove(f.Name()) // it is gone when it is closed
	if err == nil {
		_, err = io.Copy(f, r)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = f.Close() // nobody reads it
		return nil, fmt.Errorf("keep %s: %w", name, err)
	}
	return f, nil
}
