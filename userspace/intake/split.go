package intake

import "bytes"

// splitter cuts a stream into lines in one reusable buffer. Bytes go in by
// space and wrote, lines come out of next; a line is valid until space is
// called again.
type splitter struct {
	buf        []byte
	max        int // longest line that is kept whole
	start, end int // bytes that are not consumed yet
	scanned    int // no newline in buf[start:scanned]
	skipped    int // bytes of the present line that were thrown away
}

// bufferSize is what a splitter reads at once: large enough that system calls
// do not count, small enough that what they bring is judged within a few milliseconds.
const bufferSize = 64 << 10

func newSplitter(maxLine int) *splitter {
	return &splitter{max: maxLine}
}

func (s *splitter) reset() { s.start, s.end, s.scanned, s.skipped = 0, 0, 0, 0 }

// space returns room to read into, never empty. It may move what is buffered.
func (s *splitter) space() []byte {
	if s.start > 0 {
		s.end = copy(s.buf, s.buf[s.start:s.end])
		s.scanned -= s.start
		s.start = 0
	}
	if s.end > s.max && s.scanned == s.end {
		s.skipped += s.end - s.max
		s.end, s.scanned = s.max, s.max
	}
	if len(s.buf)-s.end < bufferSize/4 {
		buf := make([]byte, max(bufferSize, 2*len(s.buf)))
		copy(buf, s.buf[:s.end])
		s.buf = buf
	}
	return s.buf[s.end:]
}

// wrote says how many bytes were put into what space returned.
func (s *splitter) wrote(n int) { s.end += n }

// next returns the next whole line without its newline, and how many bytes of
// the stream it took. A line longer than max comes cut to max.
func (s *splitter) next() (line []byte, size int, ok bool) {
	i := bytes.IndexByte(s.buf[s.scanned:s.end], '\n')
	if i < 0 {
		s.scanned = s.end
		return nil, 0, false
	}
	stop := s.scanned + i
	line, size = s.buf[s.start:stop], stop+1-s.start+s.skipped
	s.start, s.scanned, s.skipped = stop+1, stop+1, 0
	return line[:min(len(line), s.max)], size, true
}

// rest returns the unfinished line at the end of the stream and consumes it.
func (s *splitter) rest() (line []byte, size int) {
	line, size = s.buf[s.start:s.end], s.end-s.start+s.skipped
	s.start, s.scanned, s.skipped = s.end, s.end, 0
	return line[:min(len(line), s.max)], size
}

// pending is how many bytes of an unfinished line are held.
func (s *splitter) pending() int { return s.end - s.start + s.skipped }
