package policy

import (
	"fmt"
	"time"
)

// QuotaParty says whose a quota is.
type QuotaParty uint8

const (
	OfUser   QuotaParty = iota + 1 // a user by its login name
	OfGroup                        // all members of a group
	OfDomain                       // all users of a domain
	OfSource                       // a source that sends without a login
	OfSender                       // a sender's domain, of mail without a login
)

var partyNames = [...]string{OfUser: "user", OfGroup: "group", OfDomain: "domain", OfSource: "source", OfSender: "sender"}

// String returns the name used in configuration, CLI and JSON.
func (p QuotaParty) String() string {
	if int(p) < len(partyNames) && partyNames[p] != "" {
		return partyNames[p]
	}
	return fmt.Sprintf("party(%d)", uint8(p))
}

// Mail is one message that asks to be let through.
type Mail struct {
	User       string // login name as FoldUser writes it; empty: sent without a login
	Sender     string // domain of the sender's address in lower case, empty if it has none
	Source     Source
	Recipients int // at least 1
}

// QuotaUse is how much of one span is spent.
type QuotaUse struct {
	Party   QuotaParty
	Name    string
	Measure Measure // MeasureRecipients, or MeasureEvents for messages
	Span    QuotaSpan
	Spent   int
	Free    time.Time // when one more fits; zero if it does now
}

// QuotaAnswer says whether a message fits into all quotas that hold for it.
// If not, Use is the one that it has to wait for longest.
type QuotaAnswer struct {
	Over  bool
	Never bool      // it has more recipients than the quota: it will not fit however long it waits
	Until time.Time // when it fits if nothing else is sent
	Use   QuotaUse
}

// Quotas counts what users and sources send against their quotas. It is exact
// but for the span that quotaSlots tells. It is not safe for concurrent use.
//
// # Time
//
// Its time is the latest that it was given. A message that was sent earlier
// is counted where it belongs. When it is asked for a time that lies back by
// more than a minute, the clock was set back, and all counts begin anew:
// otherwise nobody could send until the clock has caught up.
//
// # Bounds
//
// It holds at most as many users and, apart from them, as many sources as it
// is told; a user takes about 300 bytes for each span that it has spent
// something of. One more than that displaces, of some that come next in turn,
// the one that has spent the least. Nobody but who holds a password can have
// users counted, and sources without a login never displace users.
type Quotas struct {
	book    *quotaBook
	own     map[string]Quota // of users, set by the operator
	users   accounts[string]
	shared  accounts[quotaShare]
	sources accounts[Source]
	senders accounts[string]
	now     int64
	targets []quotaTarget // of the call at hand
}

// quotaShare names who shares a quota.
type quotaShare struct {
	party QuotaParty
	name  string
}

// quotaTarget is one quota that holds for the message at hand.
type quotaTarget struct {
	party   QuotaParty
	name    string
	quota   *Quota
	account *quotaAccount // nil: nothing was spent
}

// NewQuotas returns one without history that bounds nothing.
func NewQuotas(limits Limits) *Quotas {
	return &Quotas{
		book:    newQuotaBook(QuotaRules{}),
		own:     make(map[string]Quota),
		users:   newAccounts[string](limits.Users),
		shared:  newAccounts[quotaShare](limits.Users),
		sources: newAccounts[Source](limits.Users),
		senders: newAccounts[string](limits.Users),
	}
}

// SetRules replaces the rules. What was spent stays counted in spans of the
// same time.
func (q *Quotas) SetRules(r QuotaRules) {
	q.book = newQuotaBook(r)
	for user, own := range q.own {
		q.book.set(user, &own)
	}
	for i := range q.users.ring.len() {
		h := q.users.ring.at(i)
		h.keep(q.book.planOf(h.key).each)
	}
	for i := range q.sources.ring.len() {
		q.sources.ring.at(i).keep(q.book.source)
	}
	for i := range q.senders.ring.len() {
		q.senders.ring.at(i).keep(q.book.sender)
	}
}

// SetOwn has quotas of its own hold for a user, whose name FoldUser has
// written, in place of what the rules say; nil: no more. What it has spent
// stays counted in spans of the same time.
func (q *Quotas) SetOwn(user string, own *Quota) {
	if own == nil {
		if _, found := q.own[user]; !found {
			return
		}
		delete(q.own, user)
	} else {
		q.own[user] = *own
	}
	q.book.set(user, own)
	if a := q.users.get(user); a != nil {
		a.keep(q.book.planOf(user).each)
	}
}

// Own returns the quotas that SetOwn has set for a user, nil if it has none.
func (q *Quotas) Own(user string) *Quota {
	if own, found := q.own[user]; found {
		return &own
	}
	return nil
}

// clockStep is how far the clock may be behind before counts begin anew: time
// servers correct by less.
const clockStep = int64(time.Minute)

// aim fills targets with what holds for m.
func (q *Quotas) aim(m *Mail) {
	q.targets = q.targets[:0]
	if m.User != "" {
		p := q.book.planOf(m.User)
		if p.exempt {
			return
		}
		q.targets = append(q.targets, quotaTarget{OfUser, m.User, &p.each, q.users.get(m.User)})
		for i := range p.shared {
			s := &p.shared[i]
			q.targets = append(q.targets, quotaTarget{s.party, s.name, &s.quota, q.shared.get(quotaShare{s.party, s.name})})
		}
		return
	}
	if m.Source.IsValid() && bounds(&q.book.source) {
		q.targets = append(q.targets, quotaTarget{OfSource, "", &q.book.source, q.sources.get(m.Source)})
	}
	if m.Sender != "" && bounds(&q.book.sender) {
		q.targets = append(q.targets, quotaTarget{OfSender, m.Sender, &q.book.sender, q.senders.get(m.Sender)})
	}
}

// BoundsSenders reports whether Mail.Sender matters.
func (q *Quotas) BoundsSenders() bool { return bounds(&q.book.sender) }

func bounds(q *Quota) bool { return len(q.Recipients)+len(q.Messages) > 0 }

// Ask says whether m fits at a time. It counts nothing.
func (q *Quotas) Ask(at time.Time, m *Mail) (a QuotaAnswer) {
	now := at.UnixNano()
	if q.now-now > clockStep {
		q.Clear()
		q.now = now
	}
	q.now = max(q.now, now)
	q.aim(m)
	for i := range q.targets {
		t := &q.targets[i]
		for _, s := range t.quota.Recipients {
			q.check(t, MeasureRecipients, s, m.Recipients, &a)
		}
		for _, s := range t.quota.Messages {
			q.check(t, MeasureEvents, s, 1, &a)
		}
	}
	if a.Over && a.Use.Party == OfSource {
		a.Use.Name = m.Source.String()
	}
	return a
}

// check looks at one span of t, and notes in a if n do not fit.
func (q *Quotas) check(t *quotaTarget, measure Measure, s QuotaSpan, n int, a *QuotaAnswer) {
	w := t.account.find(measure, s.Within)
	var until int64
	var fits bool
	spent := 0
	if w != nil {
		until, fits = w.room(s, q.now, n)
		spent = int(w.sum)
	} else {
		fits = n <= s.Count
	}
	if fits || a.Never {
		return
	}
	if a.Never = until == 0; a.Never || !a.Over || instant(until).After(a.Until) {
		a.Over, a.Until = true, instant(until)
		a.Use = QuotaUse{Party: t.party, Name: t.name, Measure: measure, Span: s, Spent: spent, Free: a.Until}
		if a.Never {
			a.Until, a.Use.Free = time.Time{}, time.Time{}
		}
	}
}

// Count counts m, which was sent at a time.
func (q *Quotas) Count(at time.Time, m *Mail) {
	sent := at.UnixNano()
	q.now = max(q.now, sent)
	q.aim(m)
	for i := range q.targets {
		t := &q.targets[i]
		if !bounds(t.quota) {
			continue
		}
		if t.account == nil {
			t.account = q.account(t, m)
		}
		most := len(t.quota.Recipients) + len(t.quota.Messages)
		for _, s := range t.quota.Recipients {
			q.add(t.account.open(MeasureRecipients, s.Within, most), s, sent, m.Recipients)
		}
		for _, s := range t.quota.Messages {
			q.add(t.account.open(MeasureEvents, s.Within, most), s, sent, 1)
		}
	}
}

func (q *Quotas) add(w *quotaWindow, s QuotaSpan, at int64, n int) {
	w.advance(q.now)
	w.add(s, at, n)
}

func (q *Quotas) account(t *quotaTarget, m *Mail) *quotaAccount {
	switch t.party {
	case OfUser:
		return q.users.open(t.name, q.now)
	case OfSource:
		return q.sources.open(m.Source, q.now)
	case OfSender:
		return q.senders.open(t.name, q.now)
	}
	return q.shared.open(quotaShare{t.party, t.name}, q.now)
}

// Of tells how much of each of its quotas a user has spent, those that it
// shares included. An exempt user has none.
func (q *Quotas) Of(at time.Time, user string) (uses []QuotaUse, exempt bool) {
	q.now = max(q.now, at.UnixNano())
	q.aim(&Mail{User: FoldUser(user)})
	for i := range q.targets {
		t := &q.targets[i]
		tell := func(m Measure, spans []QuotaSpan) {
			for _, s := range spans {
				u := QuotaUse{Party: t.party, Name: t.name, Measure: m, Span: s}
				if w := t.account.find(m, s.Within); w != nil {
					if until, fits := w.room(s, q.now, 1); !fits {
						u.Free = instant(until)
					}
					u.Spent = int(w.sum)
				}
				uses = append(uses, u)
			}
		}
		tell(MeasureRecipients, t.quota.Recipients)
		tell(MeasureEvents, t.quota.Messages)
	}
	return uses, len(q.targets) == 0
}

// Users returns the users that have spent something at a time, in no order.
func (q *Quotas) Users(at time.Time) (users []string) {
	q.now = max(q.now, at.UnixNano())
	for i := range q.users.ring.len() {
		if h := q.users.ring.at(i); h.spent(q.now) > 0 {
			users = append(users, h.key)
		}
	}
	return users
}

// Forget takes back what a user has spent of its own quotas. What it shares
// with others stays spent.
func (q *Quotas) Forget(user string) {
	if a := q.users.get(FoldUser(user)); a != nil {
		a.windows = nil
	}
}

// Clear takes back what everybody has spent.
func (q *Quotas) Clear() {
	q.users.clear()
	q.shared.clear()
	q.sources.clear()
	q.senders.clear()
}

// Len returns how many users and how many sources are counted.
func (q *Quotas) Len() (users, sources int) { return q.users.ring.len(), q.sources.ring.len() }
