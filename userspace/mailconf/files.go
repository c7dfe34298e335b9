// Package mailconf reads the configuration of mail servers as their files say
// it: settings, services, and whom they trust. It changes nothing, and knows
// nothing of what weir makes of it. Any part of weir may import it.
package mailconf

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Files are what a configuration is read from. One value serves for one look:
// it bounds how much is read.
type Files struct {
	FS fs.FS // the root folder; names have no slash in front
	// Run starts a program and returns its standard output. Nil: none may be
	// started.
	Run func(name string, args ...string) (string, error)

	reads  int
	hidden []string
}

// Bounds of what is read: bytes of one configuration file, how many files and
// folders, since they may include each other, and how deep.
const (
	maxConfig = 1 << 20
	maxReads  = 1000
	maxDepth  = 8
)

// Rel is an absolute name as fs.FS wants it.
func Rel(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	return cmp.Or(name, ".")
}

// Exists reports whether there is something of that name. What may not be
// looked at is held to be there: weir runs without the right to look past
// permissions, and its operator is to hear of it.
func (f *Files) Exists(name string) bool {
	_, err := fs.Stat(f.FS, Rel(name))
	return err == nil || errors.Is(err, fs.ErrPermission)
}

// Glob returns the absolute names of what a pattern matches, in order.
func (f *Files) Glob(pattern string) []string {
	if !strings.ContainsAny(pattern, "*?[") {
		if f.Exists(pattern) {
			return []string{pattern}
		}
		return nil
	}
	if f.reads++; f.reads > maxReads {
		return nil
	}
	names, _ := fs.Glob(f.FS, Rel(pattern)) // a broken pattern names nothing
	for i := range names {
		names[i] = "/" + names[i]
	}
	return names
}

// Read returns the text of a configuration file, empty if it cannot be read.
func (f *Files) Read(name string) string {
	if f.reads++; f.reads > maxReads {
		return ""
	}
	file, err := f.FS.Open(Rel(name))
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			f.hidden = append(f.hidden, name)
		}
		return ""
	}
	defer file.Close()
	text, _ := io.ReadAll(io.LimitReader(file, maxConfig))
	return string(text)
}

// Hidden lists the files that may not be read.
func (f *Files) Hidden() []string { return f.hidden }

// Ask runs a program that may not be there.
func (f *Files) Ask(name string, args ...string) (string, bool) {
	if f.Run == nil {
		return "", false
	}
	out, err := f.Run(name, args...)
	return strings.TrimSpace(out), err == nil
}
