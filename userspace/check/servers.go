package check

import (
	"io/fs"
	"slices"
	"strings"

	"weir/userspace/mailconf"
)

// Servers are what mail servers are configured to do; nil for each that is not
// installed.
type Servers struct {
	Postfix []*mailconf.Postfix // the main instance first
	Dovecot *mailconf.Dovecot
	Exim    *mailconf.Exim
	Hidden  []string // files that may not be read
	Peers   Sockets
}

// LookAtServers reads the configuration of those that are installed.
func LookAtServers(root fs.FS, run func(name string, args ...string) (string, error), peers Sockets) Servers {
	files := &mailconf.Files{FS: root, Run: run}
	s := Servers{Postfix: files.Postfixes(), Dovecot: files.Dovecot(), Exim: files.Exim(), Peers: peers}
	s.Hidden = files.Hidden()
	return s
}

// trusted is whose word the servers believe.
func (s *Servers) trusted() (all []mailconf.Trust) {
	for _, p := range s.Postfix {
		all = append(all, p.Trusted()...)
	}
	if s.Dovecot != nil {
		all = append(all, s.Dovecot.Trusted()...)
	}
	if s.Exim != nil {
		all = append(all, s.Exim.Trusted()...)
	}
	return all
}

// hidden notes the files below a folder that may not be read.
func (s *Servers) hidden(b *book, folder string) {
	var names []string
	for _, name := range s.Hidden {
		if strings.HasPrefix(name, folder) {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		b.add(Note, "files", "run weir check as root", "not all of the configuration could be seen: %s", listed(names))
	}
}

// listens reports whether weir is configured to be asked at a unix socket.
func listens(on []string, path string) bool { return slices.Contains(on, "unix:"+path) }
