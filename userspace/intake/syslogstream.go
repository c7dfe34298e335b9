package intake

import (
	"bytes"
	"errors"
)

// framing is how messages are told apart in a stream, RFC 6587 section 3.4.
type framing uint8

const (
	unknownFraming framing = iota
	countedFraming         // "83 <22>1 …": their length stands before them
	lineFraming            // each ends with a newline
)

var errFraming = errors.New("no message length where one must stand")

// framer cuts a stream into messages. Bytes go in by space and wrote, messages
// come out of next; one is valid until space is called again.
//
// The first byte decides about the framing for good. If each message could
// choose, a newline that a mail server lets through would be enough to make
// the text behind it a message, whatever the sender counted.
type framer struct {
	max        int
	framing    framing
	buf        []byte
	start, end int  // bytes that are not consumed yet
	scanned    int  // lines: no newline in buf[start:scanned]
	skip       int  // counted: bytes of a message that was cut, still to come
	skipLine   bool // lines: the rest of a line that was cut is still to come
	busy       bool // the last reading filled the buffer
}

const (
	firstBuffer = 4 << 10
	maxDigits   = 8 // of a message's length: beyond 100 MB it is none
)

// newFramer cuts messages that are longer than max.
func newFramer(max int) *framer {
	return &framer{max: max, buf: make([]byte, firstBuffer)}
}

// space returns room to read into, never empty. It may move what is buffered.
func (f *framer) space() []byte {
	if f.start > 0 {
		f.end = copy(f.buf, f.buf[f.start:f.end])
		f.scanned = max(f.scanned-f.start, 0)
		f.start = 0
	}
	if most := f.max + maxDigits + 2; (f.busy || f.end == len(f.buf)) && len(f.buf) < most {
		f.buf = append(make([]byte, 0, min(4*len(f.buf), most)), f.buf[:f.end]...)
		f.buf = f.buf[:cap(f.buf)]
	}
	return f.buf[f.end:]
}

// wrote says how many bytes were put into what space returned.
func (f *framer) wrote(n int) {
	f.busy = n > 0 && n == len(f.buf)-f.end
	f.end += n
}

// pending reports whether a message has begun and not ended.
func (f *framer) pending() bool { return f.end > f.start || f.skip > 0 || f.skipLine }

// next returns the next message that is there, and whether it had to be cut.
// After an error the stream is of no use any more.
func (f *framer) next() (message []byte, cut, ok bool, err error) {
	if f.framing == unknownFraming && f.start < f.end {
		f.framing = lineFraming
		if c := f.buf[f.start]; c >= '1' && c <= '9' {
			f.framing = countedFraming
		}
	}
	switch f.framing {
	case countedFraming:
		return f.counted()
	case lineFraming:
		message, cut, ok = f.line()
	}
	return message, cut, ok, nil
}

// counted reads "MSG-LEN SP SYSLOG-MSG", RFC 6587 section 3.4.1. Newlines
// between messages, which some senders add, are passed over.
func (f *framer) counted() (message []byte, cut, ok bool, err error) {
	if skipped := min(f.skip, f.end-f.start); skipped > 0 {
		f.skip -= skipped
		f.start += skipped
	}
	for f.skip == 0 && f.start < f.end && f.buf[f.start] == '\n' {
		f.start++
	}
	length, digits := 0, 0
	b := f.buf[f.start:f.end]
	for digits < len(b) && digits <= maxDigits && b[digits] >= '0' && b[digits] <= '9' {
		length = length*10 + int(b[digits]-'0')
		digits++
	}
	switch {
	case len(b) == 0, digits == len(b) && digits <= maxDigits && b[0] != '0':
		return nil, false, false, nil
	case digits == 0, digits > maxDigits, b[0] == '0', b[digits] != ' ':
		return nil, false, false, errFraming
	}
	b = b[digits+1:]
	if len(b) < min(length, f.max) {
		return nil, false, false, nil
	}
	message = b[:min(length, f.max)]
	took := min(length, len(b))
	f.start += digits + 1 + took
	f.skip = length - took
	return message, length > f.max, true, nil
}

// line reads up to a newline, RFC 6587 section 3.4.2. Empty lines are none.
func (f *framer) line() (message []byte, cut, ok bool) {
	for {
		f.scanned = max(f.scanned, f.start)
		i := bytes.IndexByte(f.buf[f.scanned:f.end], '\n')
		switch {
		case i < 0 && f.skipLine:
			f.start, f.scanned = f.end, f.end
			return nil, false, false
		case i < 0 && f.end-f.start <= f.max:
			f.scanned = f.end
			return nil, false, false
		case i < 0:
			message = f.buf[f.start : f.start+f.max]
			f.start, f.scanned, f.skipLine = f.end, f.end, true
			return message, true, true
		}
		stop := f.scanned + i
		message = f.buf[f.start:stop]
		rest := f.skipLine
		f.start, f.scanned, f.skipLine = stop+1, stop+1, false
		if !rest && len(message) > 0 {
			return message[:min(len(message), f.max)], len(message) > f.max, true
		}
	}
}
