package check

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Logs are what is to be read.
type Logs struct {
	All   []Log
	Notes []string // of detection
}

// Log is one input, with what a look at its end has shown.
type Log struct {
	Name    string // as weir status calls it
	Found   string // whose lines these are and why they are read here; "" if the configuration names it
	Blind   string // why it cannot be looked into at all, such as a socket
	NotSeen error  // why it could not be looked into
	Missing bool
	Written time.Time // when the file was last written to; zero: not a file

	Lines         uint64 // looked at
	Understood    uint64 // of these: lines of mail servers that fit a pattern
	NotUnderstood uint64 // that name a client, and fit none
	Events        uint64
	Line, Event   string    // a line, and what was made of it
	Puzzle        string    // a line that was not understood
	Newest        time.Time // the latest event's
	AtEnd         bool      // that event is among the last lines
	Back          int       // how often the time of events went back by more than a minute
}

// quiet is how long a log may not have been written to.
const quiet = 24 * time.Hour

func logs(f *Facts, b *book) {
	if len(f.Logs.All) == 0 {
		b.add(Error, "inputs", `write intake = "auto", or an [[intake]] for each log`, "nothing is read, so no rule decides")
	}
	for i := range f.Logs.All {
		l := &f.Logs.All[i]
		l.examine(f, b)
		if read, known := f.Agent.Intakes[l.Name]; known {
			live(l.Name, &read, b)
		}
	}
	for _, note := range f.Logs.Notes {
		if !slices.Contains(f.Agent.Notes, note) {
			b.add(Note, "found", "", "%s", note)
		}
	}
}

func (l *Log) examine(f *Facts, b *book) {
	switch {
	case l.Blind != "":
		b.add(Note, l.Name, "weir status tells what the agent receives there", "%s", l.Blind)
		return
	case l.Missing:
		b.add(Warning, l.Name, "see where the mail server writes, or let intake be \"auto\"", "it is not there (weir waits for it)")
		return
	case l.NotSeen != nil:
		b.unseen(l.Name, l.NotSeen, "run weir check as root, or as a member of the group that the log belongs to")
		return
	case l.Lines == 0:
		b.add(Warning, l.Name, "see whether the mail server runs and writes there", "nothing was written to it%s", since(f.Now, l.Written))
		return
	}
	severity, remedy, seen := OK, "", ""
	known := l.Understood + l.NotUnderstood
	switch {
	case known == 0:
		severity, remedy = Warning, "see whether the mail server writes there; README.md has a table of those that are read, and what they need"
		seen = "and none of a mail server that names a client"
	case l.NotUnderstood*10 > known:
		severity, remedy = Warning, "README.md has a table of what servers need to be set to; else this line is news to weir: report it"
		seen = fmt.Sprintf("%s of those that name clients understood, %s", share(l.Understood, known), counted(l.Events, "event", "events"))
	default:
		seen = fmt.Sprintf("%s of those that name clients understood, %s", share(l.Understood, known), counted(l.Events, "event", "events"))
	}
	if !l.Written.IsZero() && f.Now.Sub(l.Written) > quiet && severity < Warning {
		severity, remedy = Warning, "see whether the mail server writes elsewhere"
		seen += since(f.Now, l.Written)
	}
	b.add(severity, l.Name, remedy, "the last %s: %s", counted(l.Lines, "line", "lines"), seen).
		detail("found", l.Found).detail("line", l.Line).detail("event", l.Event).detail("puzzle", l.Puzzle)
}

// live tells what the agent has read.
func live(name string, r *Read, b *book) {
	switch {
	case r.Error != "":
		b.add(Warning, name, "weir status tells more", "the agent says: %s", r.Error)
	case r.Lost > 0:
		b.add(Warning, name, "weir status tells why", "the agent has lost %s of it", counted(r.Lost, "line", "lines"))
	case r.Lag > time.Minute && r.Behind > 0:
		b.add(Warning, name, "weir status tells more", "the agent is %s behind, which is %s", r.Lag.Round(time.Second), size(r.Behind))
	default:
		b.ok(name, "the agent has read %s and %s of it", counted(r.Lines, "line", "lines"), counted(r.Events, "event", "events"))
	}
}

func since(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf("; last written to %s ago", now.Sub(t).Round(time.Minute))
}

// share writes a part of a whole, without claiming all where it is not.
func share(part, whole uint64) string {
	p := 100 * float64(part) / float64(whole)
	switch {
	case part < whole && p > 99:
		return "over 99 %"
	case part > 0 && p < 1:
		return "under 1 %"
	}
	return strings.TrimSuffix(fmt.Sprintf("%.0f", p), ".") + " %"
}
