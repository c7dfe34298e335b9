// Package audit keeps what people changed: who, what, when and why, one JSON
// object a line, in a file that is only ever appended to.
//
// What rules decide is not in it; the agent's log tells that.
package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// FileName is the log's, in state_dir.
const FileName = "audit.log"

// New returns a logger of changes to the file at path, which is made when it
// is needed. A record's message says what was changed; it is on the disk when
// the call returns. What cannot be written is told to failed, and is not kept.
func New(path string, failed func(error)) *slog.Logger {
	f := &file{path: path}
	return slog.New(handler{slog.NewJSONHandler(f, &slog.HandlerOptions{ReplaceAttr: named}), failed})
}

// named calls the message a change, and leaves the level out.
func named(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.MessageKey:
		a.Key = "change"
	case slog.LevelKey:
		return slog.Attr{}
	}
	return a
}

// handler tells of failures, which a slog.Logger keeps to itself.
type handler struct {
	slog.Handler
	failed func(error)
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if err != nil {
		h.failed(err)
	}
	return err
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs), h.failed}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Handler.WithGroup(name), h.failed}
}

// file is opened for each line, so that whoever rotates it need tell nobody.
type file struct {
	path string
	mu   sync.Mutex
}

// Write implements io.Writer for whole lines.
func (f *file) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	to, err := open(f.path)
	if err != nil {
		return 0, fmt.Errorf("audit log: %w", err)
	}
	if err = errors.Join(add(to, line), to.Close()); err != nil {
		return 0, fmt.Errorf("audit log %s: %w", f.path, err)
	}
	return len(line), nil
}

// add writes a line and waits for the disk, alone among all processes: a line
// that crosses a page is seen in part while it is written, and would look torn.
// The lock ends with the file; only its owner and root reach into the folder.
func add(to *os.File, line []byte) error {
	if err := syscall.Flock(int(to.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	if torn(to) { // by a full disk, or a crash
		line = append([]byte("\n"), line...)
	}
	_, err := to.Write(line)
	return errors.Join(err, to.Sync())
}

// open opens the file at path, or makes it. One that root makes belongs to
// whom its folder belongs to, or the agent could not go on with it.
func open(path string) (*os.File, error) {
	const flags = os.O_RDWR | os.O_APPEND | syscall.O_NOFOLLOW
	f, err := os.OpenFile(path, flags, 0)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	if f, err = os.OpenFile(path, flags|os.O_CREATE, 0o640); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		info, err := os.Stat(filepath.Dir(path))
		if err == nil {
			owner := info.Sys().(*syscall.Stat_t)
			err = f.Chown(int(owner.Uid), int(owner.Gid))
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// torn reports whether the last line has no end.
func torn(f *os.File) bool {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return false
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], size-1)
	return err == nil && last[0] != '\n'
}
