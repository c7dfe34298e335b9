package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Action is what a decision does to its target.
type Action uint8

const (
	Allow    Action = iota + 1 // source or prefix: always let through
	Limit                      // source or prefix: connection openings, bytes, or both at a rate
	Tarpit                     // source or prefix: held without service
	Drop                       // source or prefix: discarded
	Defer                      // user: told to come back later
	Guard                      // user: only sources it succeeded from before
	OwnQuota                   // user: quotas of its own, in place of the configured ones; pins only
	Release                    // what stood is lifted
)

var actionNames = [...]string{
	Allow:    "allow",
	Limit:    "limit",
	Tarpit:   "tarpit",
	Drop:     "drop",
	Defer:    "defer",
	Guard:    "guard",
	OwnQuota: "quota",
	Release:  "release",
}

// String returns the name used in configuration, CLI, metrics and JSON.
func (a Action) String() string {
	if int(a) < len(actionNames) && actionNames[a] != "" {
		return actionNames[a]
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// MarshalText writes the name of a.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads a name as String writes it.
func (a *Action) UnmarshalText(text []byte) error {
	for i, name := range actionNames {
		if name != "" && name == string(text) {
			*a = Action(i)
			return nil
		}
	}
	return fmt.Errorf("unknown action %q (known: allow, limit, tarpit, drop, defer, guard, quota, release)", text)
}

// Target is what a decision is about: a prefix (a source is a /32 or a /64)
// or a user. Exactly one of the two is set.
type Target struct {
	Prefix netip.Prefix
	User   string
}

// String writes the target as operators write it.
func (t Target) String() string {
	if t.User != "" {
		return t.User
	}
	return PrefixString(t.Prefix)
}

// Observation is one piece of evidence: what an event said, without the
// parts that the decision's target says already.
type Observation struct {
	Time       time.Time
	Kind       Kind
	Source     netip.Addr
	User       string
	Service    string
	Server     string
	Recipients int
	Line       uint64
	Text       string // the record as it was written, if it is still known; filled by the agent
}

// Evidence justifies a decision. Count tells how many observations counted;
// Sample holds a bounded number of them, oldest first.
type Evidence struct {
	Count     int
	FirstLine uint64
	LastLine  uint64
	Sample    []Observation
}

// Names reports whether an observation of the sample names user.
func (ev *Evidence) Names(user string) bool {
	return slices.ContainsFunc(ev.Sample, func(o Observation) bool { return o.User == user })
}

// Decision is a judgement on a target: made by a rule, or by the operator
// (then it is a pin, and outlives every automatic one).
type Decision struct {
	Target
	Action   Action
	Pinned   bool
	Listed   bool      // an operator's list made it, which Rule names; never ends while it is there
	Rate     Rate      // for Limit
	Quota    *Quota    // for OwnQuota; what it leaves open, the configuration says
	Since    time.Time // the record's time for a rule, the operator's for a pin
	Until    time.Time // zero: never ends (pins only)
	Rule     string    // name of the rule; empty for a pin
	Reason   string    // in plain words, with its numbers
	Offence  int       // 1 for the first time, counting up; 0 for a pin
	By       string    // who pinned
	Evidence Evidence  //
}

// Configured reports whether d is of the configured allow list, or of what is
// allowed besides, and neither a pin nor a rule's or a list's decision.
func (d *Decision) Configured() bool { return !d.Pinned && d.Rule == "" }

// Ended reports whether d no longer stands at now.
func (d *Decision) Ended(now time.Time) bool {
	return !d.Until.IsZero() && !now.Before(d.Until)
}

// Prevailing returns what stands on a user: the pin, else the automatic
// decision, or nil. A pin that sets quotas alone comes after a decision: it
// shelters no stolen account.
func Prevailing(pin, automatic *Decision) *Decision {
	if pin == nil || pin.Action == OwnQuota && automatic != nil {
		return automatic
	}
	return pin
}
