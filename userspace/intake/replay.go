package intake

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// Replay is an old log opened for reading from its start to its end.
type Replay struct {
	io.Reader
	in     *counter
	gz     *gzip.Reader
	file   *os.File // nil when it is not ours to close
	closed bool
}

// counter counts the bytes that were read through it.
type counter struct {
	r io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// OpenReplay opens a log to be read once: plain or gzip (told by content, not
// by name; concatenated members are one log), or standard input for "-". The
// size is in bytes on disk, to compare with [Replay.Consumed]; it is −1 where
// it cannot be known, as for a pipe.
func OpenReplay(path string) (r *Replay, size int64, err error) {
	if path == "-" {
		r, err := NewReplay(os.Stdin)
		if err != nil {
			return nil, 0, fmt.Errorf("read standard input: %w", err)
		}
		return r, sizeOf(os.Stdin), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("open log: %w", err)
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, 0, fmt.Errorf("open log %s: is a directory; name the files in it", path)
	}
	if r, err = NewReplay(f); err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("open log %s: %w", path, err)
	}
	r.file = f
	return r, sizeOf(f), nil
}

// sizeOf returns the size of a regular file, −1 for anything else.
func sizeOf(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return -1
	}
	return info.Size()
}

// NewReplay is OpenReplay for a stream that is open already. Close leaves the
// stream open.
func NewReplay(in io.Reader) (*Replay, error) {
	c := &counter{r: in}
	b := bufio.NewReaderSize(c, bufferSize)
	head, err := b.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	r := &Replay{Reader: b, in: c}
	if bytes.Equal(head, gzipMagic) {
		if r.gz, err = gzip.NewReader(b); err != nil {
			return nil, fmt.Errorf("damaged gzip header: %w", err)
		}
		r.Reader = r.gz
	}
	return r, nil
}

// Consumed is how many bytes were read so far, compressed ones where the log
// is compressed. It may be called from another goroutine.
func (r *Replay) Consumed() int64 { return r.in.n.Load() }

// Packed reports whether the log is compressed.
func (r *Replay) Packed() bool { return r.gz != nil }

// Close releases the file. Closing again does nothing.
func (r *Replay) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	var errs []error
	if r.gz != nil {
		errs = append(errs, r.gz.Close())
	}
	if r.file != nil {
		errs = append(errs, r.file.Close())
	}
	return errors.Join(errs...)
}

// Lines calls f for every line of r, without its newline, numbered from 1. The
// last line needs no newline. A line is valid until f returns; one longer than
// [DefaultMaxLine] is cut to that. An error of r is returned after the lines
// before it, an error of f at once.
func Lines(r io.Reader, f func(line []byte, number uint64) error) error {
	s := newSplitter(DefaultMaxLine)
	var number uint64
	for {
		n, err := r.Read(s.space())
		s.wrote(n)
		for {
			line, _, ok := s.next()
			if !ok {
				break
			}
			number++
			if err := f(line, number); err != nil {
				return err
			}
		}
		if err == nil {
			continue
		}
		if s.pending() > 0 {
			line, _ := s.rest()
			if err := f(line, number+1); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return fmt.Errorf("read log after line %d: %w", number, err)
	}
}

var gzipMagic = []byte{0x1f, 0x8b} // RFC 1952 section 2.3.1
