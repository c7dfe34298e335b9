// Package detect finds where the mail servers of a host write their logs: the
// files to follow and the units of the journal to read. It looks at a file
// system, reads the servers' own configuration, and starts a server's own
// program only where that leaves a question. It changes nothing, and knows
// nothing of what the logs say.
//
// The same line must never be read twice. Where a syslog daemon writes to a
// file what the journal holds too, one of the two is chosen; and of several
// files of a syslog daemon that hold mail's lines, one.
package detect

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"weir/userspace/mailconf"
)

// Host is what is looked at.
type Host struct {
	FS  fs.FS     // the root folder; names have no slash in front
	Now time.Time // tells which files are still written to
	// Run starts a program and returns its standard output. Nil: none may be
	// started.
	Run func(name string, args ...string) (string, error)
}

// Kinds of input, as the configuration names them.
const (
	File    = "file"
	Journal = "journal"
)

// Input is something to read.
type Input struct {
	Type    string
	Path    string   // file
	Units   []string // journal
	Servers []string // whose lines are there
	Why     string   // this and not something else, for the operator
}

// Note is something about a server that its operator should know.
type Note struct {
	Server string
	Text   string
}

// Found is the result of a search.
type Found struct {
	Inputs []Input // the journal first, then files by their names
	Notes  []Note
}

// Servers lists the servers whose lines are read, without repetition.
func (f *Found) Servers() []string {
	var all []string
	for _, in := range f.Inputs {
		all = append(all, in.Servers...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Given tells of an input that the configuration names besides.
type Given struct {
	Type string // file, journal or syslog
	Path string
	Own  bool // syslog: only this host sends there
}

// Find looks for the logs of the installed servers. What given inputs hold
// already is left to them.
func Find(h Host, given []Given) *Found {
	f := &finder{Host: h, Files: &mailconf.Files{FS: h.FS, Run: h.Run}, given: given, syslog: make(map[string][]*server)}
	for i := range servers {
		s := &servers[i]
		if !f.any(s.signs) {
			continue
		}
		if s.logs == nil {
			f.toSyslog(s)
		} else {
			s.logs(f, s)
		}
	}
	f.resolve()
	if len(f.found.Inputs)+len(f.found.Notes) == 0 && len(given) == 0 {
		f.note("", "no mail server was found on this host")
	}
	slices.SortStableFunc(f.found.Inputs, func(a, b Input) int {
		return cmp.Or(-cmp.Compare(a.Type, b.Type), cmp.Compare(a.Path, b.Path))
	})
	return &f.found
}

// finder is one search.
type finder struct {
	Host
	*mailconf.Files
	given  []Given
	found  Found
	syslog map[string][]*server // those that write to syslog, by facility
	both   []bothWays
}

// bothWays is a server that writes the same to syslog and to a file.
type bothWays struct {
	server *server
	file   string
	why    string
}

func (f *finder) note(server, format string, args ...any) {
	f.found.Notes = append(f.found.Notes, Note{Server: server, Text: fmt.Sprintf(format, args...)})
}

// toSyslog notes that s writes to syslog.
func (f *finder) toSyslog(s *server) {
	facility := cmp.Or(s.facility, "mail")
	f.syslog[facility] = append(f.syslog[facility], s)
}

// toFile reads a file for s. Where it cannot be read, that is noted.
func (f *finder) toFile(s *server, name, why string) {
	if !path.IsAbs(name) {
		f.note(s.name, "it writes to %q, which is no name from the root on and cannot be followed", name)
		return
	}
	f.addFile([]*server{s}, name, why)
}

func (f *finder) addFile(of []*server, name, why string) {
	if slices.ContainsFunc(f.given, func(g Given) bool { return g.Type == File && f.same(g.Path, name) }) {
		return
	}
	names := serverNames(of)
	if file, err := f.Host.FS.Open(mailconf.Rel(name)); err == nil {
		file.Close()
	} else if f.Exists(name) {
		f.note(strings.Join(names, ", "), "%s may not be read by weir: add the group of that file or folder to its unit (systemctl edit weir: [Service], SupplementaryGroups=)", name)
	}
	for i := range f.found.Inputs {
		if in := &f.found.Inputs[i]; in.Type == File && f.same(in.Path, name) {
			in.Servers = append(in.Servers, names...)
			return
		}
	}
	f.found.Inputs = append(f.found.Inputs, Input{Type: File, Path: name, Servers: names, Why: why})
}

// addUnits reads the units of servers from the journal.
func (f *finder) addUnits(of []*server, why string) {
	if slices.ContainsFunc(f.given, func(g Given) bool { return g.Type == Journal && g.Path == "" }) {
		f.note(strings.Join(serverNames(of), ", "), "left to the journal's own [[intake]]: see that its units are there")
		return
	}
	i := slices.IndexFunc(f.found.Inputs, func(in Input) bool { return in.Type == Journal })
	if i < 0 {
		i = len(f.found.Inputs)
		f.found.Inputs = append(f.found.Inputs, Input{Type: Journal, Why: why})
	}
	in := &f.found.Inputs[i]
	for _, s := range of {
		in.Servers = append(in.Servers, s.name)
		in.Units = append(in.Units, s.units...)
	}
	slices.Sort(in.Units)
	in.Units = slices.Compact(in.Units)
}

func serverNames(of []*server) []string {
	var names []string
	for _, s := range of {
		names = append(names, s.name)
	}
	return names
}

// any reports whether one of the patterns names something that is there.
func (f *finder) any(patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return len(f.Glob(p)) > 0 })
}

// same reports whether two names are of one file.
func (f *finder) same(a, b string) bool {
	if path.Clean(a) == path.Clean(b) {
		return true
	}
	x, errX := fs.Stat(f.Host.FS, mailconf.Rel(a))
	y, errY := fs.Stat(f.Host.FS, mailconf.Rel(b))
	return errX == nil && errY == nil && sameFile(x, y)
}
