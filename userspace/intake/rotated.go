package intake

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// identity tells files of one host apart for as long as they exist.
type identity struct{ dev, ino uint64 }

func (p Position) identity() identity { return identity{p.Device, p.Inode} }

// sibling is a file that holds, or may hold, a part of the log: the log
// itself, or what rotation made of it.
type sibling struct {
	path     string
	id       identity
	size     int64
	modified time.Time
	current  bool   // it is the log, by its own name as a rule
	kind     suffix // of rotation, by its name
	number   int    // kind numbered: 1 is the youngest
	date     string // kind dated
	packed   string // ".gz" and the like, by its name; empty: plain
}

// suffix is a way to name rotated files.
type suffix uint8

const (
	foreign  suffix = iota // begins like the log but does not look rotated
	numbered               // mail.log.1
	dated                  // mail.log-20261122, mail.log.2026-11-22
	aged                   // mail.log.old
)

// errMoved says that a file was renamed between two looks at it: look again.
var errMoved = errors.New("rotated meanwhile")

// open opens the file, or returns errMoved if its name is now another's.
func (s sibling) open(offset int64, maxLine int) (*tail, error) {
	t, err := openTail(s.path, offset, maxLine)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errMoved
	} else if err != nil {
		return nil, err
	}
	if t.id != s.id {
		t.close()
		return nil, errMoved
	}
	return t, nil
}

// readable says whether the file's bytes can be had.
func (s sibling) readable() bool { return s.packed == "" || s.packed == ".gz" }

// family lists the files that may hold a part of the log at path, oldest
// first; the log itself, if it exists, comes last. The names are those that
// logrotate(8), savelog(8) and exicyclog(8) give, compressed or not.
//
// A rotation renames many files one after the other, so the folder is read
// until it reads the same twice.
func family(path string) ([]sibling, error) {
	const tries = 100
	before, err := listFamily(path)
	for range tries {
		if err != nil {
			return nil, err
		}
		var list []sibling
		list, err = listFamily(path)
		if slices.EqualFunc(list, before, func(a, b sibling) bool { return a.id == b.id && a.path == b.path }) {
			return list, err
		}
		before = list
	}
	return nil, fmt.Errorf("folder of %s: %w", path, errMoved)
}

func listFamily(path string) ([]sibling, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []sibling
	var log *sibling
	stem := strings.TrimSuffix(base, filepath.Ext(base))
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, stem) || !e.Type().IsRegular() {
			continue
		}
		s, err := statSibling(dir + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // renamed since it was listed
		} else if err != nil {
			return nil, err
		}
		if name == base {
			s.current, log = true, &s
			continue
		}
		s.classify(base, name)
		list = append(list, s)
	}
	list = slices.DeleteFunc(list, func(s sibling) bool {
		if log != nil && s.id == log.id {
			return true // a second link to the log
		}
		return s.packed != "" && slices.ContainsFunc(list, func(o sibling) bool {
			return o.path+s.packed == s.path // still being compressed
		})
	})
	slices.SortStableFunc(list, olderFirst)
	if log != nil {
		list = append(list, *log)
	} else {
		markNewest(list)
	}
	return list, nil
}

// markNewest takes the youngest file with a date for the log, where nothing
// has the log's own name: some programs never write to that, but to a file for
// each day. It comes last in list.
func markNewest(list []sibling) {
	for i, s := range slices.Backward(list) {
		if s.kind == dated && s.packed == "" {
			copy(list[i:], list[i+1:])
			s.current = true
			list[len(list)-1] = s
			return
		}
	}
}

// statLog looks at the log itself.
func statLog(path string) (sibling, error) {
	log, err := statSibling(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return log, err
	}
	list, listErr := family(path)
	if n := len(list); listErr == nil && n > 0 && list[n-1].current {
		return list[n-1], nil
	}
	return log, err
}

func statSibling(path string) (sibling, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return sibling{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return sibling{
		path:     path,
		id:       identityOf(&st),
		size:     st.Size,
		modified: time.Unix(st.Mtim.Unix()),
	}, nil
}

func identityOf(st *unix.Stat_t) identity {
	return identity{uint64(st.Dev), uint64(st.Ino)} //nolint:unconvert // Dev is narrower on some architectures
}

// classify reads the rotation from name; base is the log's own.
func (s *sibling) classify(base, name string) {
	for _, ext := range [...]string{".gz", ".xz", ".zst", ".bz2", ".lz4"} {
		if n, ok := strings.CutSuffix(name, ext); ok {
			s.packed, name = ext, n
			break
		}
	}
	rest, ok := strings.CutPrefix(name, base)
	if !ok { // logrotate's "extension": mail-20261122.log for mail.log
		ext := filepath.Ext(base)
		if rest, ok = strings.CutPrefix(name, strings.TrimSuffix(base, ext)); ok {
			rest, ok = strings.CutSuffix(rest, ext)
		}
	}
	if !ok || len(rest) < 2 || !strings.ContainsRune(".-_", rune(rest[0])) {
		return
	}
	rest = rest[1:]
	if rest == "old" {
		s.kind = aged
		return
	}
	if n, err := strconv.Atoi(rest); err == nil && len(rest) < 6 {
		s.kind, s.number = numbered, n
		return
	}
	if strings.Trim(rest, "0123456789-_.:T") == "" && strings.ContainsAny(rest, "0123456789") {
		s.kind, s.date = dated, rest
	}
}

// olderFirst orders by the names where they are of one kind, because times of
// modification may be equal or touched; else by time.
func olderFirst(a, b sibling) int {
	switch {
	case a.kind == numbered && b.kind == numbered:
		return cmp.Compare(b.number, a.number)
	case a.kind == dated && b.kind == dated:
		return cmp.Compare(a.date, b.date)
	}
	return a.modified.Compare(b.modified)
}

// find returns the index of the file that p tells of, −1 if there is none.
func find(list []sibling, p Position) (int, error) {
	for i, s := range list {
		if s.id != p.identity() {
			continue
		}
		if p.Head.Length == 0 {
			return i, nil
		}
		if ok, err := p.Head.matches(s); ok || err != nil {
			return i, err
		}
		// Truncated since, or the inode was given to another file.
	}
	for i, s := range slices.Backward(list) {
		if !s.readable() {
			continue
		}
		if ok, err := p.Head.matches(s); ok || err != nil {
			return i, err
		}
	}
	return -1, nil
}

// copied says whether s is a copy of the log that is not truncated yet: it
// holds nothing of its own.
func copied(s, log sibling) (bool, error) {
	if !log.current || s.packed != "" || s.size > log.size {
		return false, nil
	}
	t, err := s.open(0, bufferSize)
	if err != nil {
		return false, err
	}
	defer t.close()
	return t.fingerprint().matches(log)
}
