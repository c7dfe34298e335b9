package check

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Configuration is weir's own, and what stands against it on the host.
type Configuration struct {
	Missing    bool
	Unreadable error     // it is there
	Errors     []Problem // which keep it from being used
	Warnings   []Problem
	SSH        []uint16 // where sshd is configured to listen
	Listening  []uint16 // TCP ports that somebody serves from outside
	NotSeen    error    // why Listening is not known
	Tables     int64    // bytes that the kernel's tables take at once, as configured; 0: not known
	Available  int64    // bytes of memory; 0: not known
}

// Problem is one of a line.
type Problem struct {
	Line   int // 0: of the file as a whole
	Text   string
	Remedy string
}

// LookAtSSH returns the ports that sshd is configured to listen on
// (sshd_config(5)).
func LookAtSSH(root fs.FS) (ports []uint16) {
	more, _ := fs.Glob(root, "etc/ssh/sshd_config.d/*.conf")
	for _, name := range append([]string{"etc/ssh/sshd_config"}, more...) {
		text, _ := fs.ReadFile(root, name) // without it, the default holds
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			if len(words) > 1 && strings.EqualFold(words[0], "Port") {
				if n, err := strconv.ParseUint(words[1], 10, 16); err == nil {
					ports = append(ports, uint16(n))
				}
			}
		}
	}
	if len(ports) == 0 {
		return []uint16{22}
	}
	return ports
}

// LookAtMemory returns how many bytes are available (MemAvailable in proc(5)),
// 0 if that is not told.
func LookAtMemory(root fs.FS) int64 {
	text, _ := fs.ReadFile(root, "proc/meminfo") // 0 says that it is not known
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "MemAvailable:" {
			n, _ := strconv.ParseInt(words[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// mailPorts are those that mail is submitted and read by.
func mailPorts() map[uint16]string {
	return map[uint16]string{
		25: "smtp", 465: "submissions", 587: "submission", 110: "pop3", 143: "imap", 993: "imaps", 995: "pop3s", 4190: "sieve",
	}
}

func configuration(f *Facts, b *book) {
	c, s := &f.Configuration, &f.Settings
	switch {
	case c.Missing:
		b.add(Error, "file", fmt.Sprintf("make install writes one; or copy packaging/weir.toml to %s, or name another with --config", s.File),
			"%s is not there, and without it weir does not start; the rest is told as if it were empty", s.File)
	case c.Unreadable != nil:
		b.unseen("file", c.Unreadable, "")
	case len(c.Errors) > 0:
		for _, p := range c.Errors {
			b.add(Error, p.place(), p.Remedy, "%s; weir does not start with that, and the rest is told as if the file were empty", p.Text)
		}
	default:
		b.ok("file", "%s has no errors", s.File)
	}
	for _, p := range c.Warnings {
		b.add(Warning, p.place(), p.Remedy, "%s", p.Text)
	}
	if s.Enforce {
		b.ok("mode", "enforce")
	} else {
		b.add(Note, "mode", `when weir list shows what you expect, set mode = "enforce" and reload`, "observe: weir decides and shows, and touches nothing")
	}
	for _, port := range c.SSH {
		if slices.Contains(s.Ports, port) && port != 22 { // of that the file's own warning tells
			b.add(Warning, "ports", fmt.Sprintf("remove %d from ports, or let allow name the networks that you log in from", port),
				"sshd is configured to listen on %d, which is protected: who is flagged, rightly or not, is shut out of the host", port)
		}
	}
	if c.NotSeen != nil {
		b.unseen("ports", c.NotSeen, "")
	} else {
		c.served(s, b)
	}
	c.memory(b)
}

func (p Problem) place() string {
	if p.Line == 0 {
		return "file"
	}
	return "line " + strconv.Itoa(p.Line)
}

// served compares protected ports with those that somebody listens on.
func (c *Configuration) served(s *Settings, b *book) {
	var idle, open []string
	for _, p := range s.Ports {
		if !slices.Contains(c.Listening, p) {
			idle = append(idle, fmt.Sprint(p))
		}
	}
	names := mailPorts()
	for _, p := range c.Listening {
		if name := names[p]; name != "" && !slices.Contains(s.Ports, p) {
			open = append(open, fmt.Sprintf("%d (%s)", p, name))
		}
	}
	switch {
	case len(idle) == len(s.Ports):
		b.add(Warning, "ports", "start the mail server, or name in ports what it listens on", "nobody listens on any protected port (%s)", listed(idle))
	case len(idle) > 0:
		b.add(Note, "ports", "", "nobody listens on %s, of the protected ports", listed(idle))
	default:
		b.ok("ports", "every protected port is served")
	}
	if len(open) > 0 {
		b.add(Note, "ports", "name them in ports if flagged sources are to lose them, too", "served and not protected: %s", listed(open))
	}
}

// memory: what the tables take should leave room for mail.
func (c *Configuration) memory(b *book) {
	switch {
	case c.Available == 0 || c.Tables == 0:
	case c.Tables > c.Available/2:
		b.add(Warning, "entries", "lower entries below [limits], which is for as many sources as are flagged at once",
			"the kernel's tables take %s of memory, and %s are available", size(c.Tables), size(c.Available))
	default:
		b.ok("entries", "the kernel's tables take %s of memory; %s are available", size(c.Tables), size(c.Available))
	}
}

// size writes bytes.
func size(n int64) string {
	units := []string{"bytes", "KB", "MB", "GB", "TB"}
	value, i := float64(n), 0
	for ; value >= 1000 && i < len(units)-1; i++ {
		value /= 1000
	}
	text := strconv.FormatFloat(value, 'f', 1, 64)
	return strings.TrimSuffix(text, ".0") + " " + units[i]
}
