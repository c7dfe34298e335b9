package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"weir/userspace/control"
)

// readList reads the prefixes that args name, or the list in the file from
// ("-": standard input).
func (a *app) readList(cmd *cobra.Command, args []string, from string) (*control.List, error) {
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
		return control.ReadList("arguments", strings.NewReader(strings.Join(args, "\n")))
	case from == "-":
		return control.ReadList("standard input", a.stdin)
	}
	f, err := os.Open(from)
	if err != nil {
		return nil, usage(cmd, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, usagef(cmd, "%s is a directory: name a file", from)
	}
	return control.ReadList(from, f)
}

// sayJudged tells when what the operator named is judged as something wider.
func (a *app) sayJudged(named string, p netip.Prefix) {
	if judged, differs := control.Judged(named, p); differs {
		fmt.Fprintf(a.stderr, "%s is judged as %s\n", named, judged)
	}
}
