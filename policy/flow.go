package policy

import (
	"fmt"
	"time"
)

// FlowAction says what becomes of a message.
type FlowAction uint8

const (
	FlowPass     FlowAction = iota // it passes
	FlowOver                       // a quota is spent; it may come again
	FlowLimited                    // its user is limited, and the rate is used up for now
	FlowDeferred                   // its user is told to come back later
	FlowStranger                   // its user is guarded, and its source is not the user's own
)

var flowNames = [...]string{
	FlowPass: "pass", FlowOver: "over_quota", FlowLimited: "limited", FlowDeferred: "deferred", FlowStranger: "stranger",
}

// String returns the name used in metrics and status.
func (a FlowAction) String() string {
	if int(a) < len(flowNames) {
		return flowNames[a]
	}
	return fmt.Sprintf("flow(%d)", uint8(a))
}

// FlowAnswer is what becomes of a message, and why.
type FlowAnswer struct {
	Action FlowAction
	Never  bool      // it has more recipients than may ever pass at once
	Until  time.Time // when it may come again; zero if Never, or if nobody knows
	Use    QuotaUse  // of FlowOver
}

// QuotaRule is the name of the rule in decisions that quotas make.
const QuotaRule = "quota"

// Flow decides about each message of users before it is taken: by what the
// ledger says of its user, and by quotas. It is not safe for concurrent use.
type Flow struct {
	Quotas *Quotas
	Known  *KnownSources

	throttle *Throttle
	standing map[string]standingUser
}

// standingUser is what stands on a user.
type standingUser struct {
	decision *Decision
	blocks   bool // a quota's decision whose counts are lost
}

// NewFlow returns one without history.
func NewFlow(limits Limits) *Flow {
	return &Flow{
		Quotas:   NewQuotas(limits),
		Known:    NewKnownSources(limits.Users),
		throttle: NewThrottle(limits.Users),
		standing: make(map[string]standingUser),
	}
}

// Stand says which decision stands on a user now, nil if none does. The
// caller must not change it any more.
func (f *Flow) Stand(user string, d *Decision) {
	if d == nil {
		delete(f.standing, user)
		f.throttle.Forget(user)
		return
	}
	f.standing[user] = standingUser{decision: d}
}

// StandAgain is Stand for what a restart brings back: a decision of the quotas
// then holds by itself, as what was counted for it may be lost.
func (f *Flow) StandAgain(user string, d *Decision) {
	f.standing[user] = standingUser{decision: d, blocks: d.Rule == QuotaRule && !d.Pinned}
}

// Standing returns the decision that stands on a user at a time, or nil.
func (f *Flow) Standing(at time.Time, user string) *Decision {
	d := f.standing[user].decision
	if d == nil || d.Ended(at) {
		return nil
	}
	return d
}

// Knock says whether a user may send from a source at all, at a time. It
// counts nothing, so that it can be asked before the message is there.
func (f *Flow) Knock(at time.Time, user string, source Source) FlowAnswer {
	s, found := f.standing[user]
	if !found || s.decision.Ended(at) {
		return FlowAnswer{}
	}
	d := s.decision
	switch {
	case d.Action == Defer && (d.Rule != QuotaRule || s.blocks || d.Pinned):
		return FlowAnswer{Action: FlowDeferred, Until: d.Until}
	case d.Action == Guard && source.IsValid() && !f.Known.Knows(user, source, d.Since):
		return FlowAnswer{Action: FlowStranger, Until: d.Until}
	}
	return FlowAnswer{}
}

// Ask decides about a message that was sent at a time, and counts it if it
// passes. What the operator has pinned holds in place of quotas: allow lets
// everything pass, limit so much.
func (f *Flow) Ask(at time.Time, m *Mail) FlowAnswer {
	if m.User == "" {
		return f.askQuotas(at, m)
	}
	d := f.Standing(at, m.User)
	if d == nil {
		return f.askQuotas(at, m)
	}
	if a := f.Knock(at, m.User, m.Source); a.Action != FlowPass {
		return a
	}
	if d.Action == Allow {
		f.Quotas.Count(at, m)
		return FlowAnswer{}
	}
	if d.Action != Limit || d.Rate.Every <= 0 {
		return f.askQuotas(at, m)
	}
	if !d.Pinned {
		if a := f.Quotas.Ask(at, m); a.Over {
			return overQuota(a)
		}
	}
	until, passes := f.throttle.Ask(at, m.User, m.Source, f.Known.Knows(m.User, m.Source, d.Since), m.Recipients, d.Rate)
	if !passes {
		return FlowAnswer{Action: FlowLimited, Never: until.IsZero(), Until: until}
	}
	f.Quotas.Count(at, m)
	return FlowAnswer{}
}

func (f *Flow) askQuotas(at time.Time, m *Mail) FlowAnswer {
	if a := f.Quotas.Ask(at, m); a.Over {
		return overQuota(a)
	}
	f.Quotas.Count(at, m)
	return FlowAnswer{}
}

func overQuota(a QuotaAnswer) FlowAnswer {
	return FlowAnswer{Action: FlowOver, Never: a.Never, Until: a.Until, Use: a.Use}
}

// Reset takes back what a user has spent.
func (f *Flow) Reset(user string) {
	f.Quotas.Forget(user)
	f.throttle.Forget(user)
	if s, found := f.standing[user]; found {
		s.blocks = false
		f.standing[user] = s
	}
}

// QuotaDecision is the decision that a quota that is spent gives, with m as
// its evidence.
func QuotaDecision(at time.Time, m *Mail, a *FlowAnswer, o Observation) Decision {
	return Decision{
		Target: Target{User: m.User}, Action: Defer, Since: at, Until: a.Until, Rule: QuotaRule, Offence: 1,
		Reason:   a.Use.Reason(m.Recipients),
		Evidence: Evidence{Count: 1, FirstLine: o.Line, LastLine: o.Line, Sample: []Observation{o}},
	}
}

// Reason tells in plain words why n more recipients, or one more message, are
// over the quota.
func (u *QuotaUse) Reason(n int) string {
	what, more := "recipients", n
	if u.Measure == MeasureEvents {
		what, more = "messages", 1
	}
	whose := ""
	switch u.Party {
	case OfGroup, OfDomain:
		whose = fmt.Sprintf(" of the %s %s together", u.Party, quoted(u.Name))
	case OfSender:
		whose = fmt.Sprintf(" from senders of %s", quoted(u.Name))
	}
	return fmt.Sprintf("%d %s in %s%s and %d more, of %d", u.Spent, what, FormatDuration(u.Span.Within), whose, more, u.Span.Count)
}
