package agent

import (
	"sync"
	"time"

	"weir/policy"
)

// suspects is the sources that failed to log in lately: only of those the core
// loop has to be asked before a login may go on. It is bounded, by two
// generations; the core writes, anybody reads.
type suspects struct {
	mu         sync.RWMutex
	young, old map[policy.Source]struct{}
	turned     time.Time
}

const (
	suspectFor  = time.Hour
	maxSuspects = 1 << 17 // of a generation
)

func newSuspects() *suspects { return &suspects{young: make(map[policy.Source]struct{})} }

// note notes that source failed at a time.
func (s *suspects) note(source policy.Source, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.Sub(s.turned) >= suspectFor || len(s.young) >= maxSuspects {
		s.old, s.young, s.turned = s.young, make(map[policy.Source]struct{}), at
	}
	s.young[source] = struct{}{}
}

// has reports whether source failed lately.
func (s *suspects) has(source policy.Source) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if _, found := s.young[source]; found {
		return true
	}
	_, found := s.old[source]
	return found
}
