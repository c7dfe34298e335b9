package policy

import (
	"net/netip"
	"time"
)

// KnownAfter is how long ago a user must have succeeded from a source first
// for the source to be the user's own: whoever has just stolen a password
// succeeds as well.
const KnownAfter = 6 * time.Hour

// maxKnown is how many sources are remembered for a user.
const maxKnown = 8

// Who moves within such a net is still known: carriers and providers hand out
// another address of it now and then.
const (
	neighbours4 = 16
	neighbours6 = 32
)

// KnownSource is a source that a user succeeded from.
type KnownSource struct {
	Source      Source
	First, Last int64 // nanoseconds since 1970
}

// knownSources is what one user succeeded from. When it is full, a new source
// takes the place of one that came within KnownAfter, if there is any; of
// these, or of all, the one whose successes span the shortest time, the later
// of equals: a thousand sources that share a stolen password displace each
// other, and the one that the user has had since yesterday stays.
type knownSources [maxKnown]KnownSource

// KnownSources remembers where users have succeeded from, for as many users
// as it is told. It is not safe for concurrent use.
type KnownSources struct {
	most int
	by   map[string]int32
	ring list[knownUser]
	hand int
}

type knownUser struct {
	name    string
	last    int64
	sources knownSources
}

// NewKnownSources returns an empty one for so many users.
func NewKnownSources(users int) *KnownSources {
	return &KnownSources{most: users, by: make(map[string]int32)}
}

// Learn notes that a user, whose name FoldUser has written, succeeded from a
// source.
func (k *KnownSources) Learn(user string, source Source, at time.Time) {
	if user == "" || !source.IsValid() {
		return
	}
	now := at.UnixNano()
	u := k.open(user)
	u.last = max(u.last, now)
	place := &u.sources[0]
	for i := range u.sources {
		have := &u.sources[i]
		if have.Source == source {
			have.First, have.Last = min(have.First, now), max(have.Last, now)
			if now-have.Last > int64(FamiliarFor) {
				have.First = now
			}
			return
		}
	}
	for i := range u.sources {
		have := &u.sources[i]
		if !have.Source.IsValid() || now-have.Last > int64(FamiliarFor) {
			place = have
			break
		}
		if have.goesBefore(place, now) {
			place = have
		}
	}
	*place = KnownSource{Source: source, First: now, Last: now}
}

// Name returns a user's name, which FoldUser has written into bytes, as a
// string. It makes none if the user is known.
func (k *KnownSources) Name(folded []byte) string {
	if i, found := k.by[string(folded)]; found {
		return k.ring.at(int(i)).name
	}
	return string(folded)
}

// goesBefore reports whether s makes room rather than other.
func (s *KnownSource) goesBefore(other *KnownSource, now int64) bool {
	if fresh, old := now-s.First < int64(KnownAfter), now-other.First < int64(KnownAfter); fresh != old {
		return fresh
	}
	span, shortest := s.Last-s.First, other.Last-other.First
	return span < shortest || span == shortest && s.First > other.First
}

// open returns the entry of a user, and makes room for it if need be: of some
// that come next in turn, who has not been seen for longest goes.
func (k *KnownSources) open(user string) *knownUser {
	if i, found := k.by[user]; found {
		return k.ring.at(int(i))
	}
	i := k.ring.len()
	if i < k.most {
		k.ring.add(knownUser{})
	} else {
		i = k.hand
		for range min(looks, k.ring.len()) {
			k.hand = (k.hand + 1) % k.ring.len()
			if k.ring.at(k.hand).last < k.ring.at(i).last {
				i = k.hand
			}
		}
		delete(k.by, k.ring.at(i).name)
	}
	*k.ring.at(i) = knownUser{name: user}
	k.by[user] = int32(i)
	return k.ring.at(i)
}

// Knows reports whether a source, or a neighbour of it, was the user's own by
// a time.
func (k *KnownSources) Knows(user string, source Source, by time.Time) bool {
	i, found := k.by[user]
	if !found {
		return false
	}
	until := by.UnixNano() - int64(KnownAfter)
	for j := range k.ring.at(int(i)).sources {
		have := &k.ring.at(int(i)).sources[j]
		if have.Source.IsValid() && have.First <= until && until-have.Last <= int64(FamiliarFor) && have.Source.near(source) {
			return true
		}
	}
	return false
}

// Of returns what a user succeeded from.
func (k *KnownSources) Of(user string) (sources []KnownSource) {
	i, found := k.by[user]
	if !found {
		return nil
	}
	for _, s := range k.ring.at(int(i)).sources {
		if s.Source.IsValid() {
			sources = append(sources, s)
		}
	}
	return sources
}

// near reports whether two sources are the same or neighbours.
func (s Source) near(other Source) bool {
	if s.family != other.family {
		return false
	}
	differ := s.net ^ other.net
	if s.family == 4 {
		return differ>>(32-neighbours4) == 0
	}
	return differ>>(64-neighbours6) == 0
}

// Within reports whether s lies in p, which is in judged form.
func (s Source) Within(p netip.Prefix) bool { return s.IsValid() && p.Contains(s.Prefix().Addr()) }
