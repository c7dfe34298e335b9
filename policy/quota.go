package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// QuotaSpan is how much may pass within a time: at most Count in any span of
// Within, wherever it begins. With a Burst no more than that passes at once,
// and the rest evenly (GCRA, ITU-T I.371), so that a quota of a day is not
// spent in its first minute.
type QuotaSpan struct {
	Count  int
	Within time.Duration
	Burst  int // 0: all of Count may come at once
}

// Bounds of a QuotaSpan.
const (
	MaxQuotaCount = 100_000_000
	maxSpans      = 8 // of one measure
)

var errSpanForm = errors.New(`want a number and a time, such as "300/1h", or "300/1h burst 50"`)

// ParseQuotaSpan reads "COUNT/WITHIN" or "COUNT/WITHIN burst BURST", the time
// as ParseDuration reads it.
func ParseQuotaSpan(s string) (QuotaSpan, error) {
	fail := func(err error) (QuotaSpan, error) { return QuotaSpan{}, fmt.Errorf("bad quota %q: %w", s, err) }
	words := strings.Fields(s)
	if len(words) != 1 && (len(words) != 3 || words[1] != "burst") {
		return fail(errSpanForm)
	}
	count, within, found := strings.Cut(words[0], "/")
	n, err := strconv.Atoi(count)
	if !found || err != nil {
		return fail(errSpanForm)
	}
	span := QuotaSpan{Count: n}
	if span.Within, err = ParseDuration(within); err != nil {
		return fail(err)
	}
	if len(words) == 3 {
		if span.Burst, err = strconv.Atoi(words[2]); err != nil || span.Burst < 1 {
			return fail(errSpanForm)
		}
	}
	switch {
	case n < 1 || n > MaxQuotaCount:
		return fail(fmt.Errorf("the number must be from 1 to %d", MaxQuotaCount))
	case span.Burst > n:
		return fail(errors.New("the burst is larger than the quota"))
	}
	return span, nil
}

// String writes s as ParseQuotaSpan reads it, "1/24h" as "1/1d".
func (s QuotaSpan) String() string {
	text := strconv.Itoa(s.Count) + "/" + FormatDuration(s.Within)
	if s.Burst > 0 {
		text += " burst " + strconv.Itoa(s.Burst)
	}
	return text
}

// Quota is what one party may send: all of its spans hold at once. A nil list
// of an override says nothing, an empty one that there is no bound.
type Quota struct {
	Recipients []QuotaSpan
	Messages   []QuotaSpan
}

// String writes q as "300/1h recipients, 100/1h messages"; no bound on what is
// "any recipients".
func (q *Quota) String() string {
	var words []string
	for _, of := range []struct {
		spans []QuotaSpan
		what  string
	}{{q.Recipients, " recipients"}, {q.Messages, " messages"}} {
		if of.spans != nil && len(of.spans) == 0 {
			words = append(words, "any"+of.what)
		}
		for _, s := range of.spans {
			words = append(words, s.String()+of.what)
		}
	}
	return strings.Join(words, ", ")
}

// Validate reports what is wrong with q.
func (q *Quota) Validate() error {
	for _, spans := range [][]QuotaSpan{q.Recipients, q.Messages} {
		if len(spans) > maxSpans {
			return fmt.Errorf("%d spans: %d are possible", len(spans), maxSpans)
		}
		for i, s := range spans {
			if s.Count < 1 || s.Count > MaxQuotaCount || s.Within < time.Second || s.Within > MaxDuration || s.Burst < 0 || s.Burst > s.Count {
				return fmt.Errorf("bad quota %s", s)
			}
			for _, other := range spans[:i] {
				if other.Within == s.Within {
					return fmt.Errorf("two quotas for the same time: %s and %s", other, s)
				}
			}
		}
	}
	return nil
}

// over returns q with what it leaves open taken from under.
func (q Quota) over(under Quota) Quota {
	if q.Recipients == nil {
		q.Recipients = under.Recipients
	}
	if q.Messages == nil {
		q.Messages = under.Messages
	}
	return q
}

// QuotaOverride is a quota for some users in place of everybody's.
type QuotaOverride struct {
	Exempt   bool  // no quota holds for them
	Each     Quota // of each of the users
	Together Quota // of all of them, besides
}

// QuotaGroup is an override for users that are named.
type QuotaGroup struct {
	Name    string
	Members []string
	QuotaOverride
}

// QuotaRules say who may send how much. For a user the most particular
// override decides: the user's own, then that of the first group with the user
// in it, then the domain's of the login name, then Each. What an override
// leaves open, the next says. What several users may send together holds
// besides. The zero QuotaRules bound nothing.
type QuotaRules struct {
	Each    Quota // of each user
	Users   map[string]QuotaOverride
	Domains map[string]QuotaOverride
	Groups  []QuotaGroup
	Source  Quota // of each source, of mail that comes without a login
	Sender  Quota // of each domain of a sender's address, of such mail
}

// quotaPlan is what holds for a user.
type quotaPlan struct {
	exempt bool
	each   Quota
	shared []quotaShared
}

// quotaShared is a quota that several users share.
type quotaShared struct {
	party QuotaParty
	name  string
	quota Quota
}

// quotaBook is QuotaRules made ready.
type quotaBook struct {
	everybody quotaPlan
	users     map[string]*quotaPlan
	domains   map[string]*quotaPlan
	own       map[string]*quotaPlan // of users for whom the operator has set quotas
	source    Quota
	sender    Quota
}

func newQuotaBook(r QuotaRules) *quotaBook {
	b := &quotaBook{
		everybody: quotaPlan{each: r.Each},
		users:     make(map[string]*quotaPlan), domains: make(map[string]*quotaPlan), own: make(map[string]*quotaPlan),
		source: r.Source, sender: r.Sender,
	}
	for name, o := range r.Domains {
		name = FoldUser(name)
		b.domains[name] = &quotaPlan{exempt: o.Exempt, each: o.Each.over(r.Each), shared: shared(OfDomain, name, o)}
	}
	// From the least particular to the most: each takes what it leaves open
	// from what is there already.
	for i := len(r.Groups) - 1; i >= 0; i-- {
		for _, member := range r.Groups[i].Members {
			b.override(member, r.Groups[i].QuotaOverride, shared(OfGroup, r.Groups[i].Name, r.Groups[i].QuotaOverride))
		}
	}
	for user, o := range r.Users {
		b.override(user, o, nil)
	}
	return b
}

func shared(party QuotaParty, name string, o QuotaOverride) []quotaShared {
	if len(o.Together.Recipients)+len(o.Together.Messages) == 0 {
		return nil
	}
	return []quotaShared{{party, name, o.Together}}
}

func (b *quotaBook) override(user string, o QuotaOverride, with []quotaShared) {
	user = FoldUser(user)
	under := b.planOf(user)
	b.users[user] = &quotaPlan{
		exempt: o.Exempt || under.exempt, each: o.Each.over(under.each),
		shared: append(append([]quotaShared(nil), with...), under.shared...),
	}
}

// set has quotas of its own hold for a user, or no more if own is nil. An
// exempt user is exempt no more while they do.
func (b *quotaBook) set(user string, own *Quota) {
	delete(b.own, user)
	if own == nil {
		return
	}
	under := b.planOf(user)
	b.own[user] = &quotaPlan{each: own.over(under.each), shared: under.shared}
}

// planOf returns what holds for a user.
func (b *quotaBook) planOf(user string) *quotaPlan {
	if p := b.own[user]; p != nil {
		return p
	}
	if p := b.users[user]; p != nil {
		return p
	}
	if len(b.domains) > 0 {
		if p := b.domains[domainOf(user)]; p != nil {
			return p
		}
	}
	return &b.everybody
}

// domainOf returns what stands behind the last "@", nothing without one.
func domainOf(address string) string {
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		return address[at+1:]
	}
	return ""
}
