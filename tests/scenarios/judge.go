package scenarios

import (
	"net/netip"
	"strings"
	"time"

	"weir/policy"
)

// Judge tells which items decisions refuse. It is given both in the order of
// time.
//
// An item is refused if its source, or a prefix around it, is dropped or
// tarpitted at that moment; if its session was refused as it began, because
// the source was over its limit; if its user is deferred; if its user is
// guarded and it comes from a source that is not the user's; or if it is a
// message over its user's limit. Of decisions on a source and on prefixes
// around it, that of the longest prefix decides, as in the kernel
// (policy.Ledger). A decision counts for what comes after it: an item of the
// same microsecond is not refused by it.
//
// A source is a user's own if the user has succeeded from it, or from a
// neighbour in its /24 or /48, before: an item that is refused succeeds in
// nothing.
type Judge struct {
	ledger   *policy.Ledger
	exact    map[netip.Addr]*policy.Decision // on single IPv6 addresses, which others than weir judge
	users    map[string]*policy.Decision
	waiting  []policy.Decision           // not yet in force
	refused  map[uint32]*policy.Decision // sessions, and by what
	allowed  map[netip.Prefix]*bucket
	messages map[string]*bucket
	own      map[own]bool
}

// own is a net that a user succeeded from.
type own struct {
	user string
	net  netip.Prefix
}

// bucket is GCRA's state under one rate (ITU-T I.371).
type bucket struct {
	rate policy.Rate
	next time.Time // the theoretical arrival time
}

// pass reports whether something may pass at a time.
func (b *bucket) pass(at time.Time) bool {
	if b.next.Before(at) {
		b.next = at
	}
	if b.next.Sub(at) > b.rate.Every*time.Duration(max(b.rate.Burst, 1)-1) {
		return false
	}
	b.next = b.next.Add(b.rate.Every)
	return true
}

// under returns the bucket of a target under a rate; a new rate begins anew.
func under[K comparable](buckets map[K]*bucket, target K, rate policy.Rate) *bucket {
	b := buckets[target]
	if b == nil || b.rate.Every != rate.Every || b.rate.Burst != rate.Burst {
		b = &bucket{rate: rate}
		buckets[target] = b
	}
	return b
}

// NewJudge returns a judge to whom nobody is known.
func NewJudge() *Judge {
	return &Judge{
		ledger: policy.NewLedger(), exact: make(map[netip.Addr]*policy.Decision), users: make(map[string]*policy.Decision), refused: make(map[uint32]*policy.Decision),
		allowed: make(map[netip.Prefix]*bucket), messages: make(map[string]*bucket), own: make(map[own]bool),
	}
}

// Decide takes a decision.
func (j *Judge) Decide(d policy.Decision) {
	d.Evidence = policy.Evidence{}
	j.waiting = append(j.waiting, d)
}

// enforce puts in force what was decided before a time.
func (j *Judge) enforce(now time.Time) {
	n := 0
	for ; n < len(j.waiting) && j.waiting[n].Since.Before(now); n++ {
		d := j.waiting[n]
		if d.User == "" && d.Prefix.Bits() > policy.SourceBits6 {
			j.exact[d.Prefix.Addr()] = &d
			continue
		}
		if d.User == "" {
			j.ledger.Expire(d.Since)
			j.ledger.Put(d.Since, d)
			continue
		}
		if user := strings.ToLower(d.User); d.Action == policy.Release {
			delete(j.users, user)
		} else {
			j.users[user] = &d
		}
	}
	j.waiting = j.waiting[n:]
	j.ledger.Expire(now)
}

// Refuses judges an item, or an opening, and returns the decision that refuses
// it, nil if none does.
func (j *Judge) Refuses(i *Item) *policy.Decision {
	j.enforce(i.Time)
	by := j.refused[i.Session]
	if by == nil {
		by = j.refusesSource(i)
	}
	if by == nil && i.User != "" {
		by = j.refusesUser(i)
	}
	if by != nil && (i.Kind == Opening || i.Kind == Connection) {
		j.refused[i.Session] = by
	}
	if by == nil && (i.Kind == Login || i.Kind == Message && i.User != "") {
		j.own[own{i.User, neighbourhood(i.Source)}] = true
	}
	return by
}

// refusesSource judges the source, and at an opening its limit.
func (j *Judge) refusesSource(i *Item) *policy.Decision {
	if d := j.exact[i.Source]; d != nil && !d.Ended(i.Time) {
		j.refused[i.Session] = d
		return d
	}
	for _, c := range j.ledger.LookupPrefix(netip.PrefixFrom(i.Source, i.Source.BitLen())) {
		d := c.Decision
		switch {
		case !c.Wins:
		case d.Action == policy.Drop || d.Action == policy.Tarpit:
			j.refused[i.Session] = d // its session is closed
			return d
		case d.Action == policy.Limit && i.Kind == Opening && !under(j.allowed, d.Prefix, d.Rate).pass(i.Time):
			return d
		}
	}
	return nil
}

func (j *Judge) refusesUser(i *Item) *policy.Decision {
	d := j.users[i.User]
	switch {
	case d == nil || d.Ended(i.Time):
	case d.Action == policy.Defer,
		d.Action == policy.Guard && !j.own[own{i.User, neighbourhood(i.Source)}],
		d.Action == policy.Limit && i.Kind == Message && !under(j.messages, i.User, d.Rate).pass(i.Time):
		return d
	}
	return nil
}

// wouldRefuse judges what an event tells of, if nobody knows of which item.
func (j *Judge) wouldRefuse(e *policy.Event) bool {
	i := Item{Time: e.Time, Kind: Try, Session: noSession, Source: e.Source.Unmap(), User: strings.ToLower(e.User)}
	delete(j.refused, noSession)
	return j.refusesSource(&i) != nil || i.User != "" && j.refusesUser(&i) != nil
}

const noSession = 1<<32 - 1

// neighbourhood is the net whose sources count as neighbours.
func neighbourhood(a netip.Addr) netip.Prefix {
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, _ := a.Prefix(bits)
	return p
}
