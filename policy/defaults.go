package policy

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Limits bounds the memory of an Engine. Above a bound, whoever was seen
// least recently is forgotten.
type Limits struct {
	Sources      int // sources that are remembered, about 100 bytes each, and 32 a rule for those that failed
	Users        int // users that are remembered, about 400 bytes each, and 32 a rule
	Observations int // events held in the windows of all rules, 48 bytes each

	// Grace is how long after the operator's release every rule needs four
	// times as much against a source or a user.
	Grace time.Duration
}

// DefaultLimits is enough for a host with 200,000 users that a large botnet
// attacks. Memory is taken as it is needed.
func DefaultLimits() Limits {
	return Limits{Sources: 1_000_000, Users: 200_000, Observations: 4_000_000, Grace: 6 * time.Hour}
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
	return slices.Concat(sourceRules(), neighbourRules(), userRules())
}

const day = 24 * time.Hour

// sourceRules judge a source for what it does itself.
func sourceRules() []Rule {
	failures := []Kind{AuthFailure}
	return []Rule{
		{
			Name: "guessing", Events: []Kind{AuthFailure, Listed}, Per: PerSource, Measure: MeasureWeight,
			Threshold: 10, Within: 7 * day, SuccessForgives: true, SpareKnown: 30 * time.Minute,
			Action: Drop, For: 6 * time.Hour, Escalate: 4, Cap: 14 * day, Forget: 30 * day,
		},
		{
			Name: "first-offence", Events: failures, Per: PerSource, Measure: MeasureWeight, Pressure: true,
			Threshold: 2, Within: 7 * day, SuccessForgives: true, SpareKnown: 30 * time.Minute,
			Action: Drop, For: 2 * day, Escalate: 4, Cap: 14 * day, Forget: 30 * day,
		},
		{
			Name: "failure-flood-per-source", Events: failures, Per: PerSource, Measure: MeasureEvents,
			Threshold: 200, Within: 10 * time.Minute, SuccessForgives: true,
			Steps: []Action{Limit}, Rate: Rate{Every: 2 * time.Second, Burst: 60},
			Action: Drop, For: 10 * time.Minute, Escalate: 2, Cap: day, Forget: 7 * day,
		},
		{
			Name: "many-users-tried-per-source", Events: failures, Per: PerSource, Measure: MeasureUsers,
			Threshold: 20, Within: time.Hour, SuccessForgives: true,
			Action: Drop, For: time.Hour, Escalate: 4, Cap: 7 * day, Forget: 30 * day,
		},
		{
			Name: "harvesting", Events: []Kind{UnknownRecipient}, Per: PerSource, Measure: MeasureWeight,
			Threshold: 6, Within: day,
			Action: Drop, For: 6 * time.Hour, Escalate: 4, Cap: 4 * day, Forget: 7 * day,
		},
		{
			Name: "connection-flood", Events: []Kind{Connection}, Per: PerSource, Measure: MeasureWeight,
			Threshold: 60, Within: 5 * time.Minute, SuccessForgives: true, SpareKnown: 30 * time.Minute,
			Action: Drop, For: 30 * time.Minute, Escalate: 4, Cap: 2 * day, Forget: 7 * day,
		},
	}
}

// neighbourRules judge nets in which many sources misbehave.
func neighbourRules() []Rule {
	return []Rule{{
		Name: "bad-neighbourhood", Events: []Kind{AuthFailure}, Per: PerPrefix, Measure: MeasureSources,
		Threshold: 5, Within: day,
		Action: Drop, For: 12 * time.Hour, Escalate: 4, Cap: 14 * day, Forget: 30 * day,
	}}
}

// userRules notice that a user is attacked, or that its password is in other
// hands.
func userRules() []Rule {
	logins := []Kind{AuthSuccess, Message}
	return []Rule{
		{
			Name: "failing-sources-per-user", Events: []Kind{AuthFailure}, Per: PerUser, Measure: MeasureSources,
			Threshold: 8, Within: day, SuccessForgives: true, SpareKnown: time.Minute, SpareNeighbours: true,
			UserAction: Guard, For: day, Escalate: 2, Cap: 7 * day, Forget: 30 * day,
		},
		{
			Name: "networks-per-user", Events: logins, Per: PerUser, Measure: MeasureNetworks,
			Threshold: 6, Within: time.Hour, SpareKnown: 6 * time.Hour, SpareNeighbours: true, UserFor: 3 * time.Hour,
			Action: Drop, For: day, Escalate: 2, Cap: 7 * day, Forget: 30 * day,
		},
		{
			Name: "daily-networks-per-user", Events: logins, Per: PerUser, Measure: MeasureNetworks,
			Threshold: 24, Within: day, SpareKnown: 6 * time.Hour, SpareNeighbours: true,
			Action: Drop, For: day, Escalate: 2, Cap: 7 * day, Forget: 30 * day,
		},
		{
			Name: "sources-per-user", Events: logins, Per: PerUser, Measure: MeasureSources,
			Threshold: 12, Within: time.Hour, SpareKnown: 6 * time.Hour, SpareNeighbours: true,
			Action: Drop, For: day, Escalate: 2, Cap: 7 * day, Forget: 30 * day,
		},
		{
			Name: "countries-per-user", Events: logins, Per: PerUser, Measure: MeasureCountries,
			Threshold: 5, Within: day, SpareKnown: 6 * time.Hour, SpareNeighbours: true,
			Action: Drop, For: day, Escalate: 2, Cap: 7 * day, Forget: 30 * day,
		},
		{
			Name: "strangers-recipients", Events: []Kind{Message}, Per: PerUser, Measure: MeasureRecipients,
			Threshold: 180, Within: time.Hour, SpareKnown: 12 * time.Hour, SpareNeighbours: true,
			Settled: settledAfter, Baseline: 0.5, UserFor: time.Hour,
			Action: Drop, For: day, Escalate: 2, Cap: 7 * day, Forget: 30 * day,
		},
		{
			Name: "strangers-daily-recipients", Events: []Kind{Message}, Per: PerUser, Measure: MeasureRecipients,
			Threshold: 300, Within: day, SpareKnown: 12 * time.Hour, SpareNeighbours: true,
			Settled: settledAfter, Baseline: 3, UserFor: time.Hour,
			Action: Drop, For: day, Escalate: 2, Cap: 7 * day, Forget: 30 * day,
		},
		{
			Name: "recipients-per-user", Events: []Kind{Message}, Per: PerUser, Measure: MeasureRecipients,
			Threshold: 600, Within: time.Hour, SpareKnown: 6 * time.Hour, SpareNeighbours: true, Baseline: 2,
			Action: Drop, For: 6 * time.Hour, Escalate: 2, Cap: 7 * day, Forget: 30 * day,
		},
		{
			Name: "daily-recipients-per-user", Events: []Kind{Message}, Per: PerUser, Measure: MeasureRecipients,
			Threshold: 2500, Within: day, SpareKnown: 12 * time.Hour, SpareNeighbours: true, Baseline: 3,
			Action: Drop, For: day, Escalate: 2, Cap: 7 * day, Forget: 30 * day,
		},
		{
			Name: "bad-content-per-user", Events: []Kind{Content}, Per: PerUser, Measure: MeasureEvents,
			Threshold: 10, Within: time.Hour, SpareKnown: 6 * time.Hour,
			Action: Drop, For: 6 * time.Hour, Escalate: 2, Cap: 7 * day, Forget: 30 * day,
		},
	}
}
