package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"weir/policy"
	"weir/userspace/check"
	"weir/userspace/intake"
	"weir/userspace/maillog"
)

// How much of the end of a log is looked at.
const (
	sampleBytes   = 512 << 10
	sampleEntries = 2000
	lastLines     = 50
	farAhead      = 26 * time.Hour // stamps without a year may lie ahead by a zone
)

// lookAtLog reads the end of an input.
func lookAtLog(ctx context.Context, w wanted, now time.Time) (l check.Log) {
	in, err := newInput(w.Intake, false, nil)
	if err != nil {
		return check.Log{Name: w.Type, NotSeen: err}
	}
	l.Name, l.Found = in.Name(), w.why
	s := &sampling{to: &l, parser: maillog.NewParser(maillog.Options{Location: now.Location(), Reference: now.Add(farAhead)})}
	switch in := in.(type) {
	case *intake.File:
		s.file(w.Path)
	case *intake.Journal:
		s.journal(ctx, in)
	default:
		l.Blind = "lines come by a socket, of which nothing is kept"
	}
	s.finish()
	return l
}

// sampling fills in what a sample shows.
type sampling struct {
	to     *check.Log
	parser *maillog.Parser
	events []policy.Event
	last   uint64 // line of the newest event
	before time.Time
}

// file reads the end of a log. Where the log was rotated a moment ago and has
// no line yet, that of the file before tells more.
func (s *sampling) file(path string) {
	parts, err := intake.Parts(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(parts) == 0:
		s.to.Missing = true
		return
	case err != nil:
		s.to.NotSeen = err
		return
	}
	part := parts[len(parts)-1]
	if part.Size == 0 && len(parts) > 1 {
		part = parts[len(parts)-2]
	}
	s.to.Written = part.Modified
	text, err := lastOf(part)
	if err != nil {
		s.to.NotSeen = err
		return
	}
	for line := range bytes.Lines(text) {
		s.events = s.parser.Line(line, s.to.Lines+1, s.events[:0])
		s.take(line)
	}
}

// lastOf returns the last whole lines of a file, plain or packed.
func lastOf(part intake.Part) ([]byte, error) {
	r, _, err := intake.OpenReplay(part.Path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if plain, err := os.Open(part.Path); err == nil && part.Size > sampleBytes && !r.Packed() {
		defer plain.Close()
		text, err := io.ReadAll(io.NewSectionReader(plain, part.Size-sampleBytes, sampleBytes))
		_, whole, _ := bytes.Cut(text, []byte("\n"))
		return whole, err
	}
	return io.ReadAll(io.LimitReader(r, sampleBytes))
}

func (s *sampling) journal(ctx context.Context, j *intake.Journal) {
	s.to.NotSeen = j.Past(ctx, time.Time{}, sampleEntries, func(batch []intake.Record, _ intake.Position) error {
		for i := range batch {
			r := &batch[i]
			s.events = s.parser.Message(r.Time, r.Host, r.Program, r.PID, r.Line, s.to.Lines+1, s.events[:0])
			s.take(r.Line)
		}
		return nil
	})
}

// take takes the events of a line.
func (s *sampling) take(line []byte) {
	s.to.Lines++
	for i := range s.events {
		e := &s.events[i]
		if e.Kind != policy.Connection || s.to.Event == "" { // others tell more
			s.to.Line, s.to.Event = printable(string(bytes.TrimSpace(line))), eventText(e)
		}
		if s.before.Sub(e.Time) > time.Minute {
			s.to.Back++
		}
		s.before = e.Time
		if e.Time.After(s.to.Newest) {
			s.to.Newest, s.last = e.Time, s.to.Lines
		}
	}
}

func (s *sampling) finish() {
	stats := s.parser.Stats()
	for _, p := range stats.Patterns {
		s.to.Understood += p.Lines
	}
	s.to.Events, s.to.NotUnderstood, s.to.Puzzle = stats.Events, stats.NotUnderstood, printable(stats.Sample)
	s.to.AtEnd = s.last+lastLines > s.to.Lines
}

// eventText says what an event is, in the words of replay's output.
func eventText(e *policy.Event) string {
	text := e.Kind.String()
	add := func(name, value string) {
		if value != "" {
			text += " " + name + " " + printable(value)
		}
	}
	if e.Source.IsValid() {
		add("source", e.Source.String())
	}
	add("user", e.User)
	add("service", e.Service)
	add("server", e.Server)
	if e.Recipients > 0 {
		add("recipients", fmt.Sprint(e.Recipients))
	}
	return text
}
