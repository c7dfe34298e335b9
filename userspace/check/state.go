package check

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// State is state_dir, where decisions and pins are kept.
type State struct {
	Dir     string
	NotSeen error
	Missing bool
	Mode    fs.FileMode
	Free    int64 // bytes that root may still write
	Files   int64 // inodes that are free; −1: as many as there is room
	Memory  bool  // it is on a file system in memory
	Store   int64 // bytes
	Panic   bool  // the file that lets everything through is there
	Aside   []string
}

// LookAtState looks at a folder, and at what holds it if it is not there yet.
func LookAtState(dir string) State {
	s := State{Dir: dir, Files: -1}
	info, err := os.Stat(dir)
	at := dir
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.Missing = true
		for err != nil && at != "/" {
			at = filepath.Dir(at)
			_, err = os.Stat(at)
		}
	case err != nil:
		s.NotSeen = bareError(err)
		return s
	default:
		s.Mode = info.Mode().Perm()
	}
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		s.NotSeen = fmt.Errorf("look at file system of %s: %w", at, err)
		return s
	}
	s.Free, s.Memory = int64(st.Bfree)*int64(st.Bsize), st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC //nolint:unconvert // Bsize is narrower on some architectures
	if st.Files > 0 {
		s.Files = int64(st.Ffree)
	}
	if s.Missing {
		return s
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		s.NotSeen = bareError(err)
		return s
	}
	for _, e := range entries {
		matches := func(pattern string) bool { ok, _ := filepath.Match(pattern, e.Name()); return ok }
		switch name := e.Name(); {
		case name == "panic":
			s.Panic = true
		case name == "weir.db", matches("weir.db.counts-*"):
			if info, err := e.Info(); err == nil {
				s.Store += info.Size()
			}
		case matches("weir.db.corrupt-*"):
			s.Aside = append(s.Aside, filepath.Join(dir, name))
		}
	}
	return s
}

// How much room there should be: the store is copied when it is salvaged.
const (
	muchRoom  = 200 << 20
	leastRoom = 10 << 20
	fewFiles  = 100
)

func state(f *Facts, b *book) {
	s := &f.State
	if s.NotSeen != nil {
		b.unseen(s.Dir, s.NotSeen, "")
		return
	}
	const remedy = "make room on that file system, or let state_dir name a folder on another"
	switch {
	case s.Free < leastRoom, s.Files >= 0 && s.Files < fewFiles:
		b.add(Error, "room", remedy, "%s are free%s: decisions will not outlive a restart", size(s.Free), files(s.Files))
	case s.Free < muchRoom+2*s.Store:
		b.add(Warning, "room", remedy, "%s are free, and the store has %s", size(s.Free), size(s.Store))
	default:
		b.ok("room", "%s are free, the store has %s", size(s.Free), size(s.Store))
	}
	if s.Memory {
		b.add(Warning, s.Dir, "let state_dir name a folder on a disk", "it is in memory: decisions and pins do not outlive a boot")
	}
	switch {
	case s.Missing:
		b.ok(s.Dir, "it is made when weir starts")
	case s.Mode&0o077 != 0:
		b.add(Warning, s.Dir, "chmod 700 "+s.Dir, "others may look into it (mode %o): who may write there can have anybody let through", s.Mode)
	default:
		b.ok(s.Dir, "weir's alone")
	}
	if s.Panic && f.Agent.Down != nil {
		b.add(Error, "panic", "weir panic --lift", "%s is there: everything passes, also after the next start", filepath.Join(s.Dir, "panic"))
	}
	for _, name := range s.Aside {
		b.add(Note, "store", "when nothing is missing that you know of, remove it", "a damaged store was set aside: %s", name)
	}
}

func files(n int64) string {
	if n < 0 || n >= fewFiles {
		return ""
	}
	return fmt.Sprintf(" and room for %d files", n)
}
