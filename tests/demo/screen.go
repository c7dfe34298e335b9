package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// screen writes what happens: on a terminal a block of figures that renews
// itself, elsewhere plain lines now and then.
type screen struct {
	out      io.Writer
	terminal bool
	width    int
	begun    time.Time
	block    int       // lines of the block that the cursor is below of
	shown    time.Time // when the block was last written
}

func newScreen(out *os.File) *screen {
	s := &screen{out: out, begun: time.Now(), width: 160}
	fd := int(out.Fd())
	if s.terminal = term.IsTerminal(fd); s.terminal {
		if width, _, err := term.GetSize(fd); err == nil && width > 20 {
			s.width = width
		}
	}
	return s
}

func (s *screen) say(format string, args ...any) {
	s.block = 0
	fmt.Fprintf(s.out, format+"\n", args...)
}

// title writes a line that stands out.
func (s *screen) title(text string) {
	if s.terminal {
		s.say("\n\x1b[1m%s\x1b[0m", text)
		return
	}
	s.say("\n%s\n%s", text, strings.Repeat("-", len(text)))
}

// step announces something that takes a moment; the function that it returns
// tells the outcome and how long it took.
func (s *screen) step(what string) func(outcome string) {
	begun := time.Now()
	if s.terminal {
		fmt.Fprintf(s.out, "%6.1f s  %s …", begun.Sub(s.begun).Seconds(), what)
	}
	return func(outcome string) {
		if s.terminal {
			fmt.Fprint(s.out, "\r\x1b[K")
		}
		if outcome != "" {
			outcome = ": " + outcome
		}
		took := ""
		if d := time.Since(begun); d > 100*time.Millisecond {
			took = fmt.Sprintf(" (%.1f s)", d.Seconds())
		}
		s.say("%6.1f s  %s%s%s", time.Since(s.begun).Seconds(), what, outcome, took)
	}
}

// live shows lines in place of those of the last call.
func (s *screen) live(last bool, lines ...string) {
	if !s.terminal {
		if !last && time.Since(s.shown) < 3*time.Second {
			return
		}
		s.shown = time.Now()
		for i, line := range lines {
			lines[i] = strings.Join(strings.Fields(line), " ")
		}
		fmt.Fprintf(s.out, "%6.1f s  %s\n", time.Since(s.begun).Seconds(), strings.Join(lines, " | "))
		return
	}
	if s.block > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA\x1b[J", s.block)
	}
	for _, line := range lines {
		if runes := []rune(line); len(runes) > s.width-12 {
			line = string(runes[:s.width-12])
		}
		fmt.Fprintf(s.out, "          %s\n", line)
	}
	s.block = len(lines)
}

// bar draws how much of whole is done.
func (s *screen) bar(done, whole int) string {
	if !s.terminal {
		return fmt.Sprintf("%d of %d", done, whole)
	}
	const width = 30
	full := width * min(done, whole) / max(whole, 1)
	return strings.Repeat("█", full) + strings.Repeat("░", width-full) + fmt.Sprintf(" %d of %d", done, whole)
}
