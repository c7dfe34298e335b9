package agent

import (
	"log/slog"
	"sync"
	"time"
)

const (
	stepLeast = 2 * time.Second // what is less is slewing and rounding
	stepTrust = 5 * time.Minute // after which a step is believed
)

// steady is a wall clock that does not follow steps at once. A clock that is set
// wrong, and right again a little later (settimeofday(2), a virtual machine's
// host, a broken time server), would else end all that was decided, or have it
// stand for years.
//
// How far a step goes is known from a clock that nobody sets: Go's monotonic
// reading, or none in tests whose times have none.
type steady struct {
	read func() time.Time
	log  *slog.Logger

	mu      sync.Mutex
	last    time.Time
	behind  time.Duration // what the clock was set ahead by, and is not believed yet
	stepped time.Time     // when it was last set
}

func newSteady(read func() time.Time, log *slog.Logger) *steady {
	return &steady{read: read, log: log, last: read()}
}

// now returns the time, without a monotonic reading.
func (s *steady) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(s.read(), time.Time.Sub)
}

// at takes a reading. since tells by the clock that nobody sets how much later
// one reading is than another.
func (s *steady) at(reading time.Time, since func(later, earlier time.Time) time.Duration) time.Time {
	wall := reading.Round(0)
	if step := wall.Sub(s.last.Round(0)) - since(reading, s.last); step.Abs() >= stepLeast {
		s.behind += step
		s.stepped = reading
		s.log.Warn("the clock was set; decisions go by the old time until it has kept the new one for a while", "by", step, "for", stepTrust)
	}
	s.last = reading
	if s.behind.Abs() < stepLeast {
		s.behind = 0 // it was set back
	} else if since(reading, s.stepped) >= stepTrust {
		s.log.Warn("decisions go by the clock's new time", "ahead", s.behind)
		s.behind = 0
	}
	return wall.Add(-s.behind)
}
