package lists

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Follower notices when the file of a list changes.
type Follower struct {
	List
	keep string      // where the last good content is kept, empty: nowhere
	seen fs.FileInfo // as it was at the last look
	read fs.FileInfo // as it was when it was read, nil: not yet
	gone bool        // it was not there at the last look
	rows int
}

// NewFollower follows l. keep is a path where what was read last and was good
// is kept, for a start at which the file is not there, or not good.
func NewFollower(l List, keep string) *Follower { return &Follower{List: l, keep: keep} }

// Rows is how many lines of the list hold a prefix.
func (f *Follower) Rows() int { return f.rows }

// Start reads the list for the first time. If that fails, it returns what was
// good last, and the error.
func (f *Follower) Start(now time.Time) (Content, error) {
	info, err := os.Stat(f.Path)
	var c Content
	if err == nil {
		f.seen, f.read = info, info
		if c, err = f.load(f.Path, now); err == nil {
			return c, nil
		}
	}
	f.gone = f.seen == nil
	err = fmt.Errorf("list %q: %w", f.Name, err)
	if f.keep != "" {
		if kept, keptErr := f.load(f.keep, now); keptErr == nil {
			f.rows = len(kept.Rows)
			return kept, fmt.Errorf("%w; what it held last goes on, read from %s", err, f.keep)
		}
	}
	return Content{List: f.List, Since: now}, err
}

// Look reports whether the list has a new content. A file that is being
// written is left alone until it is the same at two looks. An error says what
// is wrong with it, once; what was read before goes on.
func (f *Follower) Look(now time.Time) (c Content, changed bool, err error) {
	info, err := os.Stat(f.Path)
	if err != nil {
		f.seen = nil
		if f.gone {
			return Content{}, false, nil
		}
		f.gone = true
		return Content{}, false, fmt.Errorf("list %q: %w: what it held goes on; remove its [[list]] to end that", f.Name, err)
	}
	f.gone = false
	steady := unchanged(f.seen, info)
	f.seen = info
	if !steady || unchanged(f.read, info) {
		return Content{}, false, nil
	}
	f.read = info
	if c, err = f.load(f.Path, now); err != nil {
		return Content{}, false, fmt.Errorf("list %q has errors, and what it held before goes on: %w", f.Name, err)
	}
	return c, true, nil
}

// unchanged reports whether a file is as it was. Whoever puts another file in
// its place changes it, whatever its time says.
func unchanged(a, b fs.FileInfo) bool {
	return a != nil && b != nil && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

func (f *Follower) load(path string, now time.Time) (Content, error) {
	text, err := readFile(path)
	if err != nil {
		return Content{}, err
	}
	rows, err := Read(f.Path, text)
	if err != nil {
		return Content{}, err
	}
	if path != f.keep {
		f.rows = len(rows)
		f.save(text)
	}
	return Content{List: f.List, Rows: rows, Since: now}, nil
}

func readFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, MaxBytes+1))
	if err == nil && len(text) > MaxBytes {
		err = fmt.Errorf("%s is larger than %d MiB", path, MaxBytes>>20)
	}
	return string(text), err
}

// save keeps a good content. A disk that is full costs the copy alone.
func (f *Follower) save(text string) {
	if f.keep == "" {
		return
	}
	if os.MkdirAll(filepath.Dir(f.keep), 0o700) != nil {
		return
	}
	if os.WriteFile(f.keep+".new", []byte(text), 0o600) != nil {
		_ = os.Remove(f.keep + ".new")
		return
	}
	_ = os.Rename(f.keep+".new", f.keep)
}
