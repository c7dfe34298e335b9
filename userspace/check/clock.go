package check

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Clock is how the host's clock is kept.
type Clock struct {
	NotSeen error
	Synced  bool
	Error   time.Duration // the most that it is wrong by, as the kernel believes
	Zone    string        // of the program, such as "CET (+01:00)"
}

// unsynchronised is TIME_ERROR of adjtimex(2).
const unsynchronised = 5

// LookAtClock asks the kernel.
func LookAtClock(now time.Time) Clock {
	c := Clock{Zone: now.Format("MST (-07:00)")}
	var t unix.Timex
	state, err := unix.Adjtimex(&t) // with no modes it only reads
	if err != nil {
		c.NotSeen = fmt.Errorf("adjtimex: %w", err)
		return c
	}
	c.Synced = state != unsynchronised && t.Status&unix.STA_UNSYNC == 0
	c.Error = time.Duration(t.Maxerror) * time.Microsecond
	return c
}

// Stamps of a log may differ from the clock by so much.
const (
	ahead      = 2 * time.Minute
	zoneStep   = 15 * time.Minute // zones differ by multiples of it
	zoneJitter = 90 * time.Second
	farthest   = 26 * time.Hour
)

func clock(f *Facts, b *book) {
	c := &f.Clock
	switch {
	case c.NotSeen != nil:
		b.unseen("synchronised", c.NotSeen, "")
	case !c.Synced:
		b.add(Warning, "synchronised", "run systemd-timesyncd, chrony or ntpd; where the hypervisor keeps the clock, nothing is to be done",
			"nothing keeps the clock: when it is set, rules count within wrong times")
	default:
		b.ok("synchronised", "yes; wrong by %s at most", c.Error.Round(time.Millisecond))
	}
	b.ok("zone", "%s: stamps without a zone are read as of it", c.Zone)
	for i := range f.Logs.All {
		stamps(f.Now, &f.Logs.All[i], b)
	}
}

// stamps compares those of a log with the clock, and with when it was written.
func stamps(now time.Time, l *Log, b *book) {
	if l.Newest.IsZero() {
		return
	}
	fine := true
	if d := l.Newest.Sub(now); d > ahead {
		fine = false
		b.add(Warning, l.Name, "set the clock and the zone of the host that writes it right, or stamps with a zone (rsyslog's default template has one)",
			"its newest stamp lies %s ahead of the clock; such events count as of now", d.Round(time.Second))
	}
	if d := l.Written.Sub(l.Newest); !l.Written.IsZero() && l.AtEnd && d >= zoneStep-zoneJitter && d < farthest && inZones(d) {
		fine = false
		b.add(Warning, l.Name, "let the server write in the zone of the host, or stamps with a zone; restart it after a change of zone",
			"its newest stamp lies %s behind when it was written: the stamps seem to be of another zone", d.Round(time.Minute))
	}
	if l.Back > 0 {
		fine = false
		b.add(Note, l.Name, "where several hosts write one log, see that their clocks agree",
			"the time went back by more than a minute %s: the clock was set, or several hosts write there", often(l.Back))
	}
	if fine {
		b.ok(l.Name, "stamps go with the clock")
	}
}

// inZones: the difference is one that two zones have.
func inZones(d time.Duration) bool {
	rest := d % zoneStep
	return rest < zoneJitter || rest > zoneStep-zoneJitter
}

func often(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
