package store

import (
	"cmp"
	"io"
	"slices"
)

// window reads pages of a file that are wanted soon in few and large pieces.
// Those of a tree stand in the order in which they were written, which need not
// be that of their keys. It is of one goroutine.
type window struct {
	r      io.ReaderAt
	buf    []byte
	pieces []piece // of the file that are in buf, by where they begin
	wanted []int64
}

// piece is a part of the file: where it begins, and what stands there.
type piece struct {
	at   int64
	held []byte
}

const (
	windowSize = 1 << 20
	windowGap  = 8 << 10 // is read for nothing rather than begin another piece
)

// expect reads what is wanted next: so many bytes at each offset, as much of it as
// there is room for. What cannot be read is left for ReadAt to say.
func (w *window) expect(offsets []int64, size int) {
	if w.buf == nil {
		w.buf = make([]byte, windowSize)
	}
	w.wanted = append(w.wanted[:0], offsets...)
	slices.Sort(w.wanted)
	w.pieces = w.pieces[:0]
	room := w.buf
	for i := 0; i < len(w.wanted); {
		at := w.wanted[i]
		end := at + int64(size)
		for i++; i < len(w.wanted) && w.wanted[i] <= end+windowGap; i++ {
			end = w.wanted[i] + int64(size)
		}
		if end-at > int64(len(room)) {
			return
		}
		n, _ := w.r.ReadAt(room[:end-at], at)
		w.pieces = append(w.pieces, piece{at, room[:n]})
		room = room[end-at:]
	}
}

// ReadAt implements io.ReaderAt.
func (w *window) ReadAt(p []byte, at int64) (int, error) {
	i, exact := slices.BinarySearchFunc(w.pieces, at, func(have piece, at int64) int { return cmp.Compare(have.at, at) })
	if !exact {
		i--
	}
	if i >= 0 {
		have := w.pieces[i]
		if from := at - have.at; from+int64(len(p)) <= int64(len(have.held)) {
			return copy(p, have.held[from:]), nil
		}
	}
	return w.r.ReadAt(p, at)
}
