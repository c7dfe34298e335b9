package policy

import "time"

// Throttle lets the mail of limited users through at their rates, shared
// fairly among the sources that send it. It is not safe for concurrent use.
//
// A user's rate is a bucket of Rate.Burst recipients that one flows into each
// Rate.Every. So that one source, a thief's, cannot drain it before the
// owner's gets there, each source has a share: half of the rate belongs to
// the sources that the user was known from before, divided among those that
// have sent within shareFor, and half to the others, divided likewise. Who
// stays within the share may drain the bucket, a stranger down to a quarter;
// who goes beyond it may do so only while the bucket is more than half full,
// when nobody else wants it. Hence:
//
//   - never more than Rate.Burst at once and the rate after that pass;
//   - a known source that asks for no more than its share gets it, however
//     many strangers ask for how much;
//   - a source that is alone has the whole rate, and the bucket as far as it
//     may drain it.
//
// A known source's message with more recipients than the bucket holds waits
// until it is full, and then takes in advance what flows in later. One of a
// stranger with more than three quarters of the bucket never passes: it would
// keep the owner waiting for as long as it has recipients.
type Throttle struct {
	most  int
	users map[string]*throttled
}

// throttled is a user that is limited.
type throttled struct {
	rate    Rate
	level   float64 // recipients in the bucket
	at      int64   // when level was right
	sharers [maxSharers]sharer
}

// sharer is one source's use of its share.
type sharer struct {
	source Source
	known  bool
	used   float64 // recipients beyond what its share has yielded since; 0 at least
	at     int64   // when used was right
}

const (
	maxSharers = 32 // sources of a user with a share of their own; newer ones displace the idlest
	shareFor   = int64(time.Hour)
	minBucket  = 4 // recipients: a smaller burst leaves nothing to share
)

// NewThrottle returns an empty one for so many users.
func NewThrottle(users int) *Throttle {
	return &Throttle{most: users, users: make(map[string]*throttled)}
}

// Ask says whether n recipients of a user's mail, which is limited to a rate,
// pass from a source at a time, and takes them if they do. If they do not, it
// says when they will if nobody else sends; the zero time: never.
func (t *Throttle) Ask(at time.Time, user string, source Source, known bool, n int, r Rate) (until time.Time, passes bool) {
	now := at.UnixNano()
	u := t.users[user]
	if u == nil || u.rate != r || u.at-now > clockStep {
		if u == nil && len(t.users) >= t.most {
			t.makeRoom()
		}
		u = &throttled{rate: r, at: now, level: bucketOf(r)}
		t.users[user] = u
	}
	until, passes = u.ask(now, source, known, float64(max(n, 1)))
	return until, passes
}

// makeRoom forgets users whose buckets are full: they have lost nothing by it.
// If there are none, it forgets all: then each begins with a full bucket.
func (t *Throttle) makeRoom() {
	var latest int64
	for _, u := range t.users {
		latest = max(latest, u.at)
	}
	for name, u := range t.users {
		if u.fill(latest); u.level >= bucketOf(u.rate) {
			delete(t.users, name)
		}
	}
	if len(t.users) >= t.most {
		clear(t.users)
	}
}

// Forget lets a user begin with a full bucket.
func (t *Throttle) Forget(user string) { delete(t.users, user) }

func bucketOf(r Rate) float64 { return float64(max(r.Burst, minBucket)) }

// fill lets flow in what has come since.
func (u *throttled) fill(now int64) {
	if now > u.at {
		u.level = min(bucketOf(u.rate), u.level+float64(now-u.at)/float64(u.rate.Every))
		u.at = now
	}
}

func (u *throttled) ask(now int64, source Source, known bool, n float64) (until time.Time, passes bool) {
	u.fill(now)
	now = u.at
	bucket := bucketOf(u.rate)
	s := u.sharer(source, known, now)
	share, alone := u.share(s, now)
	floor := bucket / 2
	within := alone || s.used+min(n, bucket/4) <= bucket/4
	if !known && n > bucket*3/4 {
		return time.Time{}, false
	}
	switch {
	case within && known:
		floor = 0
	case within:
		floor = bucket / 4
	}
	want := min(n, bucket-floor)
	every := float64(u.rate.Every)
	if missing := floor + want - u.level; missing > 0 {
		wait := missing * every
		if !within { // or until the share has yielded enough, if that is sooner
			least := 0.0
			if !known {
				least = bucket / 4
			}
			yields := (s.used + min(n, bucket/4) - bucket/4) * share
			wait = min(wait, max(yields, (least+min(n, bucket-least)-u.level)*every))
		}
		return instant(now + int64(max(wait, 1))), false
	}
	u.level -= n
	s.used += n
	return time.Time{}, true
}

// sharer returns the entry of a source, with what its share has yielded since
// it was used last taken off.
func (u *throttled) sharer(source Source, known bool, now int64) *sharer {
	place := &u.sharers[0]
	for i := range u.sharers {
		s := &u.sharers[i]
		if s.source == source {
			s.known = known
			share, _ := u.share(s, now)
			s.used = max(0, s.used-float64(now-s.at)/share)
			s.at = now
			return s
		}
		// Known sources make room last.
		if idler(s, place) {
			place = s
		}
	}
	*place = sharer{source: source, known: known, at: now}
	return place
}

// idler reports whether a is to make room rather than b.
func idler(a, b *sharer) bool {
	if a.source.IsValid() != b.source.IsValid() {
		return !a.source.IsValid()
	}
	if a.known != b.known {
		return !a.known
	}
	return a.at < b.at
}

// share is the time in which the share of s yields one recipient, in
// nanoseconds, and whether nobody shares with it.
func (u *throttled) share(s *sharer, now int64) (every float64, alone bool) {
	alike, others := 1, false
	for i := range u.sharers {
		have := &u.sharers[i]
		if have == s || !have.source.IsValid() || now-have.at > shareFor {
			continue
		}
		if have.known == s.known {
			alike++
		} else {
			others = true
		}
	}
	if others {
		alike *= 2
	}
	return float64(u.rate.Every) * float64(alike), alike == 1
}
