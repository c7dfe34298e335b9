package store

import "io"

// window reads a file in larger pieces where one read follows another. It is of
// one goroutine.
type window struct {
	r    io.ReaderAt
	next int64 // where the latest read ended
	at   int64 // where buf begins
	buf  []byte
}

const windowSize = 256 << 10

// ReadAt implements io.ReaderAt.
func (w *window) ReadAt(p []byte, at int64) (int, error) {
	follows := at == w.next
	w.next = at + int64(len(p))
	if at >= w.at && w.next <= w.at+int64(len(w.buf)) {
		return copy(p, w.buf[at-w.at:]), nil
	}
	if !follows || len(p) > windowSize {
		return w.r.ReadAt(p, at)
	}
	if w.buf == nil {
		w.buf = make([]byte, windowSize)
	}
	n, _ := w.r.ReadAt(w.buf[:windowSize], at) // a piece that is cut short by an error is left aside
	if w.at, w.buf = at, w.buf[:n]; n < len(p) {
		return w.r.ReadAt(p, at)
	}
	return copy(p, w.buf), nil
}
