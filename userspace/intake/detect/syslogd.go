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

// alive is how long ago a log may have been written to last that is still in
// use: a mail server writes something every day.
const alive = 36 * time.Hour

// wellKnown are the files that syslog daemons are set up to write to, by
// facility. The first ones hold little else; the others hold everything.
var wellKnown = map[string][]candidate{
	"mail": {
		{name: "/var/log/mail.log", own: true}, {name: "/var/log/maillog", own: true}, {name: "/var/log/mail", own: true},
		{name: "/var/log/mail/mail.log", own: true}, {name: "/var/log/syslog"}, {name: "/var/log/messages"},
	},
	"auth": {
		{name: "/var/log/auth.log", own: true}, {name: "/var/log/secure", own: true},
		{name: "/var/log/syslog"}, {name: "/var/log/messages"},
	},
}

// candidate is a file that a syslog daemon may write a facility to.
type candidate struct {
	name   string
	own    bool // made for that facility
	all    bool // for all of its priorities
	routed bool // rsyslogd's configuration says so
}

// resolve decides where the lines are read that go to syslog.
func (f *finder) resolve() {
	for _, facility := range []string{"mail", "auth"} {
		of := f.syslog[facility]
		if len(of) > 0 {
			f.resolveFacility(facility, of)
		}
	}
	for _, b := range f.both {
		// What is read for others already is not read a second time.
		if name, read := f.readFor("mail"); read {
			f.note(b.server.name, "it writes to syslog and to %s; it is read from %s, as others are", b.file, name)
		} else {
			f.addFile([]*server{b.server}, b.file, b.why+"; syslog holds the same and is not read")
		}
	}
}

// readFor returns the file of syslog that is read for a facility, or the
// socket.
func (f *finder) readFor(facility string) (string, bool) {
	if f.ownSyslog() {
		return "the syslog socket", true
	}
	if name, given := f.givenFor(facility); given {
		return name, true
	}
	for _, c := range f.candidates(facility) {
		if f.isRead(c.name) {
			return c.name, true
		}
	}
	return "", false
}

// isRead reports whether a file was found worth reading already.
func (f *finder) isRead(name string) bool {
	return slices.ContainsFunc(f.found.Inputs, func(in Input) bool { return in.Type == File && f.same(in.Path, name) })
}

func (f *finder) ownSyslog() bool {
	return slices.ContainsFunc(f.given, func(g Given) bool { return g.Type == "syslog" && g.Own })
}

func (f *finder) resolveFacility(facility string, of []*server) {
	who := strings.Join(serverNames(of), ", ")
	if f.ownSyslog() {
		f.note(who, "left to the [[intake]] of type syslog")
		return
	}
	if _, given := f.givenFor(facility); given {
		return
	}
	name, why := f.file(facility, of)
	repeats := facility != "mail" && name != "" && !f.isRead(name) && f.holds(name, f.syslog["mail"]) != ""
	switch {
	case repeats && !f.journal():
		f.note(who, "its lines are in %s, together with those that are read elsewhere; they are not read", name)
	case name != "" && !repeats:
		if f.journal() {
			why += "; the journal holds the same and is not read"
		}
		f.addFile(of, name, why)
	case repeats:
		f.addUnits(of, name+" repeats what is read elsewhere, the journal has it")
	case f.journal():
		f.addUnits(of, cmp.Or(f.stale(facility), "no syslog daemon writes files")+", the journal has it")
	default:
		for _, c := range f.candidates(facility) {
			switch {
			case c.own && f.Exists(c.name):
				f.addFile(of, c.name, f.stale(facility)+", but there is nothing else")
				return
			case c.own && c.routed:
				f.addFile(of, c.name, "rsyslogd is to write facility "+facility+" there")
				return
			}
		}
		f.note(who, "writes to syslog, and there is neither a file that a syslog daemon writes nor a journal")
	}
}

func (f *finder) givenFor(facility string) (string, bool) {
	for _, c := range f.candidates(facility) {
		for _, g := range f.given {
			if g.Type == File && f.same(g.Path, c.name) {
				return c.name, true
			}
		}
	}
	return "", false
}

// file returns the one file to read for a facility, and why; none if the
// syslog daemon does not write any.
func (f *finder) file(facility string, of []*server) (name, why string) {
	list := f.candidates(facility)
	routed := slices.ContainsFunc(list, func(c candidate) bool { return c.routed })
	for _, c := range list {
		info, err := fs.Stat(f.Host.FS, mailconf.Rel(c.name))
		if err == nil && !info.Mode().IsRegular() {
			continue
		}
		fresh := err == nil && f.Now.Sub(info.ModTime()) < alive
		switch holds := f.holds(c.name, of); {
		case fresh && holds != "":
			return c.name, "it is being written to and has lines of " + holds
		case fresh && c.routed && c.own:
			return c.name, "rsyslogd writes facility " + facility + " there"
		case c.routed && c.own && f.rsyslogRuns():
			return c.name, "rsyslogd runs and is to write facility " + facility + " there"
		case fresh && c.own && !routed: // by a daemon whose configuration is not known
			return c.name, "it is being written to"
		}
	}
	return "", ""
}

// stale says when a file was written to last that is not any more.
func (f *finder) stale(facility string) string {
	for _, c := range f.candidates(facility) {
		if info, err := fs.Stat(f.Host.FS, mailconf.Rel(c.name)); err == nil && c.own {
			return fmt.Sprintf("%s was last written to on %s", c.name, info.ModTime().Format(time.DateOnly))
		}
	}
	return ""
}

// journal reports whether there is a journal to be read.
func (f *finder) journal() bool {
	return f.any([]string{"/usr/bin/journalctl", "/bin/journalctl"}) &&
		f.any([]string{"/run/systemd/journal/socket", "/var/log/journal/*/*.journal", "/run/log/journal/*/*.journal"})
}

// lookAt is how much of the end of a log is searched for a server's lines.
const lookAt = 512 << 10

// holds returns the first server of whom the end of a log has lines, or the
// end of the file before it.
func (f *finder) holds(name string, of []*server) string {
	for _, name := range append([]string{name}, f.before(name)...) {
		file, err := f.Host.FS.Open(mailconf.Rel(name))
		if err != nil {
			continue
		}
		text := readLast(file, lookAt)
		file.Close()
		for _, s := range of {
			for _, tag := range s.tags {
				if strings.Contains(text, " "+tag) {
					return s.name
				}
			}
		}
	}
	return ""
}

// before returns the youngest rotated file of a log, which may have been
// rotated a moment ago.
func (f *finder) before(name string) []string {
	if f.Exists(name + ".1") {
		return []string{name + ".1"}
	}
	dated := slices.DeleteFunc(f.Glob(name+"-2*"), func(n string) bool { return path.Ext(n) == ".gz" || path.Ext(n) == ".xz" })
	return dated[max(0, len(dated)-1):]
}

// rsyslogRuns reports whether rsyslogd is known to run. systemd lists the
// units that do by links that lead nowhere, so their names have to do.
func (f *finder) rsyslogRuns() bool {
	units, _ := fs.ReadDir(f.Host.FS, "run/systemd/units")
	return f.Exists("/run/rsyslogd.pid") ||
		slices.ContainsFunc(units, func(e fs.DirEntry) bool { return e.Name() == "invocation:rsyslog.service" })
}

// candidates lists where a facility may go, what is made for it first.
func (f *finder) candidates(facility string) []candidate {
	list := f.routes(facility)
	for _, c := range wellKnown[facility] {
		if !slices.ContainsFunc(list, func(o candidate) bool { return o.name == c.name }) {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int {
		rank := func(c candidate) int {
			switch {
			case c.own && c.routed && c.all:
				return 0
			case c.own && c.routed:
				return 1
			case c.own:
				return 2
			}
			return 3
		}
		return rank(a) - rank(b)
	})
	return list
}

// routes reads from rsyslogd's configuration to which files it writes what a
// facility says at priority info, rsyslog.conf(5).
func (f *finder) routes(facility string) []candidate {
	if !f.any([]string{"/usr/sbin/rsyslogd", "/sbin/rsyslogd"}) {
		return nil // the configuration outlives the package
	}
	var list []candidate
	for _, config := range append([]string{"/etc/rsyslog.conf"}, f.Glob("/etc/rsyslog.d/*.conf")...) {
		for line := range strings.Lines(f.Read(config)) {
			selector, action, _ := strings.Cut(strings.TrimSpace(line), " ")
			if i := strings.IndexByte(selector, '\t'); i >= 0 {
				selector, action, _ = strings.Cut(strings.TrimSpace(line), "\t")
			}
			named, all, selected := selects(selector, facility)
			name := target(strings.TrimSpace(action))
			if selected && name != "" && !slices.ContainsFunc(list, func(c candidate) bool { return c.name == name }) {
				list = append(list, candidate{name: name, own: named, all: all, routed: true})
			}
		}
	}
	return list
}

// selects reports whether a selector such as "*.info;mail.none" takes what a
// facility says at priority info, whether it names the facility, and whether
// it takes all priorities of it. Of its parts the later ones count.
func selects(selector, facility string) (named, all, selected bool) {
	for part := range strings.SplitSeq(selector, ";") {
		facilities, priority, found := strings.Cut(part, ".")
		if !found {
			return false, false, false
		}
		for one := range strings.SplitSeq(facilities, ",") {
			if one != facility && one != "*" {
				continue
			}
			switch strings.TrimPrefix(priority, "=") {
			case "none":
				named, all, selected = false, false, false
			case "*", "debug":
				named, all, selected = named || one == facility, true, !strings.HasPrefix(priority, "=")
			case "info":
				named, selected = named || one == facility, true
			}
		}
	}
	return named, all, selected
}

// target returns the file of an action, "-/var/log/mail.log" or
// action(type="omfile" file="/var/log/mail.log"), and nothing for others.
func target(action string) string {
	if strings.HasPrefix(action, "action(") && strings.Contains(action, `"omfile"`) {
		_, rest, _ := strings.Cut(strings.ReplaceAll(action, "File=", "file="), `file="`)
		action, _, _ = strings.Cut(rest, `"`)
	}
	name := strings.TrimPrefix(action, "-")
	name, _, _ = strings.Cut(name, ";") // a template
	name = strings.TrimSpace(name)
	if !strings.HasPrefix(name, "/") || strings.HasPrefix(name, "/dev/") || strings.ContainsAny(name, " \t") {
		return ""
	}
	return name
}
