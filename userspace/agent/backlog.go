package agent

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// Backlog is where a log is written to that nobody waits for: standard error
// leads to a journal or a pipe that may stand still, and decisions must not.
// What is more than can wait is lost, which is then said.
type Backlog struct {
	out   io.Writer
	lines chan []byte
	lost  atomic.Uint64
	done  chan struct{}
}

const (
	backlogLines = 4096
	backlogClose = time.Second // how long Close waits for what is left
)

// NewBacklog begins to write to out.
func NewBacklog(out io.Writer) *Backlog {
	b := &Backlog{out: out, lines: make(chan []byte, backlogLines), done: make(chan struct{})}
	go b.run()
	return b
}

// Write takes one line and never fails. It must not be called after Close.
func (b *Backlog) Write(line []byte) (int, error) {
	select {
	case b.lines <- bytes.Clone(line):
	default:
		b.lost.Add(1)
	}
	return len(line), nil
}

// Close waits for a while until everything is written.
func (b *Backlog) Close() {
	close(b.lines)
	select {
	case <-b.done:
	case <-time.After(backlogClose):
	}
}

func (b *Backlog) run() {
	defer close(b.done)
	for line := range b.lines {
		_, _ = b.out.Write(line) // there is nowhere to tell of it
		if n := b.lost.Swap(0); n > 0 {
			fmt.Fprintf(b.out, "level=WARN msg=\"lines of this log are lost, as it is taken too slowly\" count=%d\n", n)
		}
	}
}
