package intake

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
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
	origin int64  // where its data begin: after the hole that a truncated file may have
	offset int64  // of the first byte that is not delivered
	read   int64  // of the first byte that is not in split
	head   []byte // the first bytes, up to headSize, as far as they are known
	sum    Head   // of head, brought up to date by fingerprint
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
	t.offset, t.read = offset, offset
	n, err := t.file.ReadAt(t.again[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if bytes.HasPrefix(t.again[:n], gzipMagic) {
		return t.beginPacked()
	}
	t.head = append(t.head[:0], t.again[:n]...)
	return nil
}

func (t *tail) beginPacked() error {
	gz, err := gzip.NewReader(t.file)
	if err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	n, err := io.ReadFull(gz, t.head[:headSize])
	t.head = t.head[:n]
	ahead := t.head[min(t.offset, int64(n)):]
	if err == nil && len(ahead) == 0 {
		_, err = io.CopyN(io.Discard, gz, t.offset-int64(n))
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	t.unpack, t.sealed = io.MultiReader(bytes.NewReader(ahead), gz), true
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
	again := t.again[:max(int64(len(t.head)), min(headSize, t.read))]
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

// fingerprint is the hash of the file's beginning, as far as it is known.
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

// begins says whether the file's first bytes are those that h is the hash of.
func (t *tail) begins(h Head) bool {
	return h.Length > 0 && h.Length <= len(t.head) && hashHead(t.head[:h.Length]) == h
}

// matches says whether the file s begins with what h is the hash of. What is
// no log at all does not.
func (h Head) matches(s sibling) (bool, error) {
	t, err := s.open(0, bufferSize)
	if errors.Is(err, errNotRegular) || errors.Is(err, errDamaged) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer t.close()
	return t.begins(h), nil
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
