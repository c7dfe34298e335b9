package protect

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// DefaultSessions is where systemd-logind keeps a file for each session
// (sd-login(3) reads them as well).
const DefaultSessions = "/run/systemd/sessions"

// adminGroups are groups whose members administer a host.
func adminGroups() []string { return []string{"sudo", "wheel", "weir"} }

// maxSession bounds a session's file, in bytes.
const maxSession = 64 << 10

// administrators returns from where root, and whoever may become root by a
// group, is logged in, and was until linger ago. A host without logind has
// none.
func (f *Finder) administrators(now time.Time) (found []One, err error) {
	entries, err := os.ReadDir(f.Sessions)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	if f.seen == nil {
		f.seen = make(map[netip.Addr]lastSeen)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		uid, from, ok := readSession(filepath.Join(f.Sessions, e.Name()))
		if !ok {
			continue
		}
		if name, is := administrator(uid); is {
			f.seen[from] = lastSeen{now, "administrator " + name + " is logged in from there, or was lately"}
		}
	}
	for addr, s := range f.seen {
		if age := now.Sub(s.at); age > linger || age < -linger { // or the clock was set
			delete(f.seen, addr)
			continue
		}
		found = append(found, One{host(addr), s.reason})
	}
	return found, nil
}

// readSession returns whose a remote session is, and its peer. One that ends
// while it is read, or tells a name in place of an address, is none.
func readSession(path string) (uid string, from netip.Addr, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return "", from, false
	}
	defer f.Close()
	return parseSession(f)
}

func parseSession(text io.Reader) (uid string, from netip.Addr, ok bool) {
	values := make(map[string]string)
	for s := bufio.NewScanner(io.LimitReader(text, maxSession)); s.Scan(); {
		if key, value, is := strings.Cut(s.Text(), "="); is {
			values[key] = value
		}
	}
	from, err := netip.ParseAddr(values["REMOTE_HOST"])
	from = from.Unmap().WithZone("")
	return values["UID"], from, err == nil && values["REMOTE"] == "1" && values["STATE"] != "closing" && usable(from)
}

// administrator reports whether the user of this number is one, and the name.
func administrator(uid string) (name string, is bool) {
	u, err := user.LookupId(uid)
	if uid == "0" {
		if err != nil {
			return "root", true
		}
		return u.Username, true
	}
	if err != nil {
		return "", false
	}
	groups, err := u.GroupIds()
	if err != nil {
		return "", false
	}
	for _, g := range adminGroups() {
		if group, err := user.LookupGroup(g); err == nil && slices.Contains(groups, group.Gid) {
			return u.Username, true
		}
	}
	return "", false
}
