package check

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Agent is what the running agent says of itself.
type Agent struct {
	Down      error // why it cannot be reached; nil: it answers
	Forbidden bool  // Down is for want of permission
	Stranger  bool  // it answers in another protocol: another version
	Started   bool  // it should run: the unit is enabled, or something of it is in the kernel

	Version    string
	PID        int
	Enforces   bool
	Panic      string // since when, by whom and why; "" for none
	Unkept     string // what keeps mode enforce from staying
	Standing   string // what differs in the kernel and could not be put right
	StoreError string
	Faults     []Fault // the newest first
	Interfaces map[string]Attached
	Intakes    map[string]Read
	Notes      []string
}

// Fault is an error that the agent had.
type Fault struct {
	Time  time.Time
	Text  string
	Count int
}

// Attached is how the program stands on an interface.
type Attached struct{ Mode, Reason string }

// Read is what the agent has read of a log.
type Read struct {
	Lines, Events, Lost, NotUnderstood uint64
	Behind                             int64         // bytes that are written and not read
	Lag                                time.Duration // of the last reading
	Error                              string
}

// fresh is how old an error may be that is told.
const fresh = time.Hour

func agent(f *Facts, b *book) {
	a := &f.Agent
	switch {
	case a.Forbidden:
		b.add(Note, "running", "run weir check as root, or as a member of group weir", "what the agent says could not be seen: %v", a.Down)
		return
	case a.Stranger:
		b.add(Warning, "version", "systemctl restart weir", "%v", a.Down)
		return
	case a.Down != nil && a.Started:
		b.add(Error, "running", "systemctl status weir tells why; systemctl start weir", "%v", a.Down)
		return
	case a.Down != nil:
		b.add(Note, "running", "systemctl enable --now weir", "no agent runs: nothing is decided. %v", a.Down)
		return
	}
	b.ok("running", "pid %d answers", a.PID)
	if a.Version != f.Version {
		b.add(Warning, "version", "systemctl restart weir: enforcement goes on meanwhile", "the agent is weir %s, this program is weir %s", a.Version, f.Version)
	} else {
		b.ok("version", "%s, as this program", a.Version)
	}
	switch {
	case a.Panic != "":
		b.add(Error, "panic", "weir panic --lift", "everything passes, %s", a.Panic)
	case a.Unkept != "":
		b.add(Warning, "confirm", "weir confirm", "%s", a.Unkept)
	case f.Settings.Enforce != a.Enforces && len(f.Configuration.Errors) == 0 && f.Configuration.Unreadable == nil:
		b.add(Warning, "mode", "systemctl reload weir, and look at journalctl -u weir if that does not change it",
			"the agent is in mode %s, the configuration says %s", modeName(a.Enforces), modeName(f.Settings.Enforce))
	}
	if a.Standing != "" {
		b.add(Error, "read back", "weir status tells more; systemctl restart weir puts everything right", "the kernel does not hold what was decided: %s", a.Standing)
	}
	if a.StoreError != "" {
		b.add(Error, "store", "see to the disk; what is decided is in force meanwhile", "%s", a.StoreError)
	}
	a.faults(f.Now, b)
	for _, note := range a.Notes {
		if slices.ContainsFunc(f.Configuration.Warnings, func(p Problem) bool { return strings.Contains(note, p.Text) }) {
			continue // it was told
		}
		b.add(Note, "note", "", "%s", note)
	}
}

// faults tells of errors that are fresh.
func (a *Agent) faults(now time.Time, b *book) {
	var newest []Fault
	for _, x := range a.Faults {
		if now.Sub(x.Time) < fresh {
			newest = append(newest, x)
		}
	}
	if len(newest) == 0 {
		b.ok("errors", "none within the last hour")
		return
	}
	finding := b.add(Warning, "errors", "journalctl -u weir tells more", "%s within the last hour", counted(len(newest), "kind of error", "kinds of errors"))
	for _, x := range newest[:min(len(newest), 3)] {
		finding.detail(x.Time.Format(time.TimeOnly), x.Text+times(x.Count))
	}
}

func times(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (%d times)", n)
}

func modeName(enforces bool) string {
	if enforces {
		return "enforce"
	}
	return "observe"
}

// counted writes a number with what is counted.
func counted[T int | uint64](n T, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	digits := fmt.Sprint(n)
	var out strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			out.WriteByte(',')
		}
		out.WriteRune(d)
	}
	return out.String() + " " + many
}
