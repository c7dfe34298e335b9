package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"
)

// Part is a file that holds a part of a log.
type Part struct {
	Path     string
	Modified time.Time
	Size     int64 // bytes
	Current  bool  // it is the log itself, and not what rotation made of it
}

// Parts lists the files that hold a log's lines and can be read, oldest first;
// none if there is no such log.
func Parts(path string) (parts []Part, err error) {
	list, err := family(path)
	if err != nil {
		return nil, fmt.Errorf("list the files of %s: %w", path, err)
	}
	for _, s := range list {
		if s.readable() && (s.current || s.kind != foreign) {
			parts = append(parts, Part{s.path, s.modified, s.size, s.current})
		}
	}
	return parts, nil
}

// Past delivers what the journal holds since a time or, unless last is 0, its
// last entries whenever they were written, and returns. It reads beside a Run of the same journal.
func (j *Journal) Past(ctx context.Context, since time.Time, last int, sink Sink) error {
	command, err := exec.LookPath(j.o.Command)
	if err != nil {
		return fmt.Errorf("%s: %w", j.o.Command, ErrNoJournalctl)
	}
	o := j.o
	o.FromStart = false
	r := newJournalReader(o, newMeter(j.Name(), TypeJournal, nil), Position{}, sink)
	r.last.Time, r.past, r.most = since, true, last
	err = r.follow(ctx, command)
	switch stopped := (sinkError{}); {
	case errors.Is(err, io.ErrUnexpectedEOF): // it came to its end, which is not unexpected here
		return nil
	case errors.As(err, &stopped):
		return stopped.error
	}
	return err
}
