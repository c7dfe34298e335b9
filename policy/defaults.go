package policy

import (
	"errors"
	"fmt"
	"time"
)

// Limits bounds the memory of an Engine. Above a bound, whoever was seen
// least recently is forgotten.
type Limits struct {
	Sources      int // sources that are remembered, about 100 bytes each, and 32 a rule for those that failed
	Users        int // users that are remembered, about 400 bytes each, and 32 a rule
	Observations int // events held in the windows of all rules, 48 bytes each
}

// DefaultLimits is enough for a host with 200,000 users that a large botnet
// attacks. Memory is taken as it is needed.
func DefaultLimits() Limits {
	return Limits{Sources: 1_000_000, Users: 200_000, Observations: 4_000_000}
}

// Bounds of Limits.
const (
	MinSources      = 16
	MinUsers        = 16
	MinObservations = 256
	MaxLimit        = 1 << 30
)

// Validate reports a bound that is not usable.
func (l Limits) Validate() error {
	var errs []error
	for _, b := range []struct {
		name       string
		value, low int
	}{{"sources", l.Sources, MinSources}, {"users", l.Users, MinUsers}, {"observations", l.Observations, MinObservations}} {
		if b.value < b.low || b.value > MaxLimit {
			errs = append(errs, fmt.Errorf("limit of %s: must be %d to %d, not %d", b.name, b.low, MaxLimit, b.value))
		}
	}
	return errors.Join(errs...)
}

// DefaultRules is the judgement that weir ships with. The reasons for each
// figure stand in docs/decisions/policy-default-rules.md.
func DefaultRules() []Rule {
	const day = 24 * time.Hour
	failures := []Kind{AuthFailure}
	return []Rule{
		{
			Name: "failures-per-source", Events: failures, Per: PerSource, Measure: MeasureEvents,
			Threshold: 10, Within: 10 * time.Minute, SuccessForgives: true, SpareKnown: 30 * time.Minute,
			Action: Drop, For: time.Hour, Escalate: 4, Cap: 14 * day, Forget: 30 * day,
		},
		{
			Name: "slow-failures-per-source", Events: failures, Per: PerSource, Measure: MeasureEvents,
			Threshold: 30, Within: day, SuccessForgives: true, SpareKnown: 30 * time.Minute,
			Action: Drop, For: 6 * time.Hour, Escalate: 4, Cap: 14 * day, Forget: 30 * day,
		},
		{
			Name: "users-tried-per-source", Events: failures, Per: PerSource, Measure: MeasureUsers,
			Threshold: 4, Within: 7 * day, SuccessForgives: true, SpareKnown: 30 * time.Minute,
			Action: Drop, For: day, Escalate: 4, Cap: 14 * day, Forget: 30 * day,
		},
		{
			Name: "failure-flood-per-source", Events: failures, Per: PerSource, Measure: MeasureEvents,
			Threshold: 60, Within: 10 * time.Minute, SuccessForgives: true,
			Action: Drop, For: 10 * time.Minute, Escalate: 2, Cap: day, Forget: 7 * day,
		},
		{
			Name: "many-users-tried-per-source", Events: failures, Per: PerSource, Measure: MeasureUsers,
			Threshold: 15, Within: time.Hour, SuccessForgives: true,
			Action: Drop, For: time.Hour, Escalate: 4, Cap: 7 * day, Forget: 30 * day,
		},
		{
			Name: "unknown-recipients-per-source", Events: []Kind{UnknownRecipient}, Per: PerSource, Measure: MeasureEvents,
			Threshold: 20, Within: time.Hour,
			Action: Drop, For: time.Hour, Escalate: 2, Cap: 6 * time.Hour, Forget: 7 * day,
		},
		{
			Name: "sources-per-user", Events: []Kind{AuthSuccess, Message}, Per: PerUser, Measure: MeasureSources,
			Threshold: 12, Within: time.Hour, SpareKnown: 6 * time.Hour,
			Action: Drop, For: 6 * time.Hour, Escalate: 2, Cap: 7 * day, Forget: 30 * day,
		},
		{
			Name: "recipients-per-user", Events: []Kind{Message}, Per: PerUser, Measure: MeasureRecipients,
			Threshold: 500, Within: time.Hour, SpareKnown: 6 * time.Hour,
			Action: Drop, For: 6 * time.Hour, Escalate: 2, Cap: 7 * day, Forget: 30 * day,
		},
		{
			Name: "daily-recipients-per-user", Events: []Kind{Message}, Per: PerUser, Measure: MeasureRecipients,
			Threshold: 1000, Within: day, SpareKnown: 12 * time.Hour,
			Action: Drop, For: day, Escalate: 2, Cap: 7 * day, Forget: 30 * day,
		},
		{
			Name: "bad-content-per-user", Events: []Kind{Content}, Per: PerUser, Measure: MeasureEvents,
			Threshold: 10, Within: time.Hour, SpareKnown: 6 * time.Hour,
			Action: Drop, For: 6 * time.Hour, Escalate: 2, Cap: 7 * day, Forget: 30 * day,
		},
	}
}
