package agent

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// stuck takes nothing until it is let.
type stuck struct {
	let chan bool
	bytes.Buffer
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.let
	return s.Buffer.Write(p)
}

func TestBacklog(t *testing.T) {
	out := &stuck{let: make(chan bool)}
	b := NewBacklog(out)
	const n = backlogLines + 100
	for i := range n {
		fmt.Fprintln(b, i)
	}
	close(out.let)
	b.Close()
	text := out.String()
	lines := strings.Count(text, "\n")
	var lost int
	if _, rest, ok := strings.Cut(text, "count="); !ok || lines < backlogLines {
		t.Fatalf("%d lines, nothing said of the others", lines)
	} else if fmt.Sscan(rest, &lost); lines-1+lost != n {
		t.Errorf("%d written and %d lost of %d", lines-1, lost, n)
	}
	if !strings.HasPrefix(text, "0\n") {
		t.Errorf("begins with %q", text[:10])
	}
}
