package intake

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// headSize is how much of a file is hashed to recognise it.
const headSize = 1024

// tail reads one file, whatever it is called by now.
type tail struct {
	path   string // the name it was opened under
	file   *os.File
	fd     int
	id     identity
	sealed bool // a copy or compressed: nobody writes to it any more
	unpack io.Reader

	split  *splitter
	origin int64 // where its data begin: after the hole that a truncated file may have
	offset int64 // of the first byte that is not delivered
	read   int64 // of the first byte that is not in split
	head   []byte
	sum    Head // of head, brought up to date by fingerprint
	again  [headSize]byte
}

// openTail opens path, to go on at offset. It refuses what is not a regular
// file, because reading a pipe would block for ever.
func openTail(path string, offset int64, maxLine int) (*tail, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	t := &tail{path: path, file: f, fd: int(f.Fd()), split: newSplitter(maxLine), head: make([]byte, 0, headSize)}
	if err := t.begin(offset); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

var (
	errNotRegular = errors.New("is not a regular file; only those can be followed")
	errDamaged    = errors.New("damaged gzip file")
)

func (t *tail) begin(offset int64) error {
	var st unix.Stat_t
	if err := t.stat(&st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errNotRegular
	}
	t.id = identityOf(&st)
	head := t.head[:min(headSize, offset)]
	magic := make([]byte, len(gzipMagic))
	if n, _ := t.file.ReadAt(magic, 0); n == len(magic) && bytes.Equal(magic, gzipMagic) {
		gz, err := gzip.NewReader(t.file)
		if err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		t.unpack, t.sealed = gz, true
		n, err := io.ReadFull(gz, head)
		if err == nil {
			_, err = io.CopyN(io.Discard, gz, offset-int64(n))
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		head = head[:n]
	} else {
		n, err := t.file.ReadAt(head, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		head = head[:n]
	}
	t.head = head
	t.offset, t.read = offset, offset
	return nil
}

func (t *tail) close() { t.file.Close() }

func (t *tail) stat(st *unix.Stat_t) error { return unix.Fstat(t.fd, st) }

// fill reads what is there, at most a buffer full; 0 says that there is no
// more at present.
func (t *tail) fill() (int, error) {
	if t.read == 0 && t.unpack == nil {
		t.skipHole()
	}
	room := t.split.space()
	var n int
	var err error
	if t.unpack != nil {
		n, err = t.unpack.Read(room)
	} else {
		n, err = t.file.ReadAt(room, t.read)
	}
	if err != nil && n == 0 && !errors.Is(err, io.EOF) {
		return 0, err // with data, the next call gets the error
	}
	if t.sealed && len(t.head) < headSize && int64(len(t.head)) == t.read {
		t.head = append(t.head, room[:min(n, headSize-len(t.head))]...)
	}
	t.split.wrote(n)
	t.read += int64(n)
	return n, nil
}

// skipHole starts after the hole that a writer without O_APPEND leaves at the
// beginning of a file that was truncated under it, lseek(2) SEEK_DATA.
func (t *tail) skipHole() {
	data, err := unix.Seek(t.fd, 0, unix.SEEK_DATA)
	if err != nil || data <= 0 {
		return
	}
	n, err := t.file.ReadAt(t.head[:min(headSize, data)], 0)
	if err != nil {
		return
	}
	t.head = t.head[:n]
	t.origin, t.offset, t.read = data, data, data
}

// next returns the next whole line and whether it had to be cut.
func (t *tail) next() (line []byte, cut, ok bool) {
	line, size, ok := t.split.next()
	if !ok {
		return nil, false, false
	}
	return t.took(line, size), size > len(line)+1, true
}

// rest returns the unfinished line at the end, to be used when nothing will
// finish it.
func (t *tail) rest() (line []byte, cut, ok bool) {
	if t.split.pending() == 0 {
		return nil, false, false
	}
	line, size := t.split.rest()
	return t.took(line, size), size > len(line), true
}

func (t *tail) took(line []byte, size int) []byte {
	if t.offset == t.origin {
		line = bytes.TrimLeft(line, "\x00") // the rest of a hole
	}
	t.offset += int64(size)
	return line
}

// intact says whether the file still begins as it did, and is not shorter
// than what is known of its beginning. It must be asked after each reading:
// only then are the bytes known to continue those that were read before.
func (t *tail) intact() (bool, error) {
	if t.sealed {
		return true, nil
	}
	again := t.again[:min(headSize, t.read)]
	n, err := t.file.ReadAt(again, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if n < len(again) || !bytes.HasPrefix(again, t.head) {
		return false, nil
	}
	t.head = append(t.head, again[len(t.head):]...)
	return true, nil
}

// fingerprint is the hash of the file's beginning, as far as it was read.
func (t *tail) fingerprint() Head {
	if t.sum.Length != len(t.head) {
		t.sum = hashHead(t.head)
	}
	return t.sum
}

func hashHead(b []byte) Head {
	sum := sha256.Sum256(b)
	return Head{Length: len(b), Sum: hex.EncodeToString(sum[:len(sum)/2])}
}

// matches says whether the file at path begins with what h is the hash of. A
// file that is not there, or not a log at all, does not.
func (h Head) matches(path string) (bool, error) {
	if h.Length <= 0 || h.Length > headSize {
		return false, nil
	}
	t, err := openTail(path, int64(h.Length), bufferSize)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotRegular) || errors.Is(err, errDamaged) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer t.close()
	return len(t.head) == h.Length && hashHead(t.head) == h, nil
}

// lastLine returns where the line begins that is unfinished at the end of the
// file, which is its end if there is none.
func (t *tail) lastLine(maxLine int) (int64, error) {
	var st unix.Stat_t
	if err := t.stat(&st); err != nil {
		return 0, err
	}
	buf := make([]byte, min(st.Size, int64(maxLine)))
	n, err := t.file.ReadAt(buf, st.Size-int64(len(buf)))
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
		return st.Size - int64(len(buf)) + int64(i) + 1, nil
	}
	if st.Size == int64(n) {
		return 0, nil
	}
	return st.Size, nil
}
