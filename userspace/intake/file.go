package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"
)

// FileOptions say which log file to follow, and how.
type FileOptions struct {
	Path      string        // absolute; of a log with a file for each day, the name without the day
	FromStart bool          // never read before: start at the beginning, not at the end
	Polling   bool          // do not use inotify
	Interval  time.Duration // between looks at the file where inotify cannot be used
	MaxLine   int           // bytes; see DefaultMaxLine
	Logger    *slog.Logger  // nil: silent
}

// DefaultFileOptions are good for every log; only Path is to be filled in.
func DefaultFileOptions() FileOptions {
	return FileOptions{Interval: 250 * time.Millisecond, MaxLine: DefaultMaxLine}
}

// Validate says what is wrong with the options and how to put it right.
func (o FileOptions) Validate() error {
	var errs []error
	if !filepath.IsAbs(o.Path) {
		errs = append(errs, fmt.Errorf("log file %q: is not an absolute path; write it from the root, as in /var/log/mail.log", o.Path))
	}
	if o.Interval <= 0 {
		errs = append(errs, fmt.Errorf("polling interval %v: must be positive; 250ms is usual", o.Interval))
	}
	if o.MaxLine < 1024 {
		errs = append(errs, fmt.Errorf("longest line %d: must be at least 1024 bytes", o.MaxLine))
	}
	return errors.Join(errs...)
}

// File follows one log file by name through rotation of any kind.
type File struct {
	o FileOptions
	m *meter
}

// NewFile makes the input; it touches nothing yet.
func NewFile(o FileOptions) (*File, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.Path = filepath.Clean(o.Path)
	return &File{o: o, m: newMeter(TypeFile+":"+o.Path, TypeFile, o.Logger)}, nil
}

// Name is "file:" and the path.
func (f *File) Name() string { return TypeFile + ":" + f.o.Path }

// Stats may be called at any time.
func (f *File) Stats() Stats { return f.m.stats() }

// Run follows the file; see [Input].
func (f *File) Run(ctx context.Context, from Position, sink Sink) error {
	defer f.m.state(StateStopped)
	w := newWatcher(f.o, f.m)
	defer w.close()
	fo := newFollower(f.o, f.m, from, func(batch []Record, after Position) error {
		if ctx.Err() != nil {
			return errStopped // in the middle of a large file
		}
		return sink(batch, after)
	})
	defer fo.close()
	for ctx.Err() == nil {
		progress, err := fo.poll()
		if errors.Is(err, errStopped) {
			return nil
		} else if err != nil {
			return err
		}
		w.wait(ctx, progress)
	}
	return nil
}

// errStopped ends a poll when there is nobody left to deliver to.
var errStopped = errors.New("stopped")
