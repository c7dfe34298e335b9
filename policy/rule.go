package policy

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Per says what a rule keeps its counts for.
type Per uint8

const (
	PerSource Per = iota + 1 // each source by itself; the source is flagged
	PerUser                  // each user by itself; the sources that acted for the user are flagged
)

var perNames = [...]string{PerSource: "source", PerUser: "user"}

// String returns the name used in configuration.
func (p Per) String() string {
	if int(p) < len(perNames) && perNames[p] != "" {
		return perNames[p]
	}
	return fmt.Sprintf("per(%d)", uint8(p))
}

// MarshalText writes the name of p.
func (p Per) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads a name as String writes it.
func (p *Per) UnmarshalText(text []byte) error {
	i := slices.Index(perNames[:], string(text))
	if i <= 0 {
		return fmt.Errorf("unknown per %q (known: source, user)", text)
	}
	*p = Per(i)
	return nil
}

// Measure says what a rule counts among the events within its window.
type Measure uint8

const (
	MeasureEvents     Measure = iota + 1 // the events
	MeasureRecipients                    // their recipients, at least one each
	MeasureUsers                         // distinct users
	MeasureSources                       // distinct sources
)

var measureNames = [...]string{
	MeasureEvents:     "events",
	MeasureRecipients: "recipients",
	MeasureUsers:      "users",
	MeasureSources:    "sources",
}

// String returns the name used in configuration.
func (m Measure) String() string {
	if int(m) < len(measureNames) && measureNames[m] != "" {
		return measureNames[m]
	}
	return fmt.Sprintf("measure(%d)", uint8(m))
}

// MarshalText writes the name of m.
func (m Measure) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads a name as String writes it.
func (m *Measure) UnmarshalText(text []byte) error {
	i := slices.Index(measureNames[:], string(text))
	if i <= 0 {
		return fmt.Errorf("unknown measure %q (known: events, recipients, users, sources)", text)
	}
	*m = Measure(i)
	return nil
}

// Bounds of a rule. A window keeps at most as many observations as its
// threshold, and a distinct count walks them, hence the lower bound there.
const (
	MaxThreshold         = 100_000
	MaxDistinctThreshold = 1_000
	MaxRules             = 64
	maxRuleName          = 64
	maxEscalate          = 1_000
)

// Rule is a named pattern over events: when Measure of the Events of one
// source (or one user) reaches Threshold within the time Within, the source
// (or the sources that acted for the user) is judged with Action.
//
// The window slides: an event counts for exactly Within from its own time.
type Rule struct {
	Name      string
	Events    []Kind // which events count; at least one
	Per       Per
	Measure   Measure
	Threshold int
	Within    time.Duration

	// SuccessForgives takes back what a user's earlier failures added to a
	// source's window when that user succeeds from that source. Only for
	// rules per source over auth failures.
	SuccessForgives bool

	// SpareKnown, if not zero, leaves familiar sources out: they add nothing
	// to the window and are not flagged by the rule. Per source, familiar
	// means that some user succeeded from it at least this long ago; per
	// user, that this user did. A success counts for FamiliarFor after the
	// latest one.
	SpareKnown time.Duration

	Action Action // Limit or Drop
	Rate   Rate   // for Limit

	// For is how long the first decision on a target lasts. The n-th lasts
	// For × Escalate^(n−1), at most Cap. An offence is forgotten, and the
	// next one is the first again, when Forget has passed since the end of
	// the last decision. Zero Escalate means 1; zero Cap means no bound but
	// MaxDuration; zero Forget means DefaultForget.
	For      time.Duration
	Escalate float64
	Cap      time.Duration
	Forget   time.Duration
}

// FamiliarFor is how long a source stays familiar after the latest success
// from it; see Rule.SpareKnown.
const FamiliarFor = 30 * 24 * time.Hour

// DefaultForget is the value that a zero Rule.Forget stands for.
const DefaultForget = 30 * 24 * time.Hour

// RuleError is a rule that cannot be used. Field is the configuration key at
// fault, so that a caller that knows positions can point at it.
type RuleError struct {
	Rule   string // its name, possibly empty
	Field  string // configuration key, such as "threshold"
	Reason string // what is wrong and what to write instead
}

func (e *RuleError) Error() string {
	return fmt.Sprintf("rule %q: %s: %s", e.Rule, e.Field, e.Reason)
}

// Validate reports everything that is wrong with r as RuleErrors joined by
// errors.Join, or nil.
func (r *Rule) Validate() error {
	var errs []error
	fail := func(field, format string, args ...any) {
		errs = append(errs, &RuleError{Rule: r.Name, Field: field, Reason: fmt.Sprintf(format, args...)})
	}
	if !validRuleName(r.Name) {
		fail("name", "must be 1 to %d of a-z, 0-9 and -: give it a name such as failures-per-source", maxRuleName)
	}
	r.validatePattern(fail)
	r.validateJudgement(fail)
	return errors.Join(errs...)
}

// validatePattern checks the half of r that says when it fires.
func (r *Rule) validatePattern(fail func(field, format string, args ...any)) {
	if len(r.Events) == 0 {
		fail("events", `is empty: name what counts, such as ["auth_failure"]`)
	}
	for i, k := range r.Events {
		if int(k) >= len(kindNames) || k == 0 {
			fail("events", "holds an unknown kind")
		} else if slices.Contains(r.Events[:i], k) {
			fail("events", "names %s twice: remove one", k)
		}
	}
	if r.Per != PerSource && r.Per != PerUser {
		fail("per", `must be "source" or "user"`)
	}
	switch r.Measure {
	case MeasureEvents:
	case MeasureRecipients:
		if len(r.Events) != 1 || r.Events[0] != Message {
			fail("measure", `recipients are counted of messages only: set events = ["message"]`)
		}
	case MeasureUsers:
		if r.Per == PerUser {
			fail("measure", `"users" needs per = "source"`)
		}
	case MeasureSources:
		if r.Per == PerSource {
			fail("measure", `"sources" needs per = "user"`)
		}
	default:
		fail("measure", `must be "events", "recipients", "users" or "sources"`)
	}
	top := MaxThreshold
	if r.Measure == MeasureUsers || r.Measure == MeasureSources {
		top = MaxDistinctThreshold
	}
	if r.Threshold < 1 || r.Threshold > top {
		fail("threshold", "must be 1 to %d, not %d", top, r.Threshold)
	}
	if r.SuccessForgives && (r.Per != PerSource || !slices.Contains(r.Events, AuthFailure)) {
		fail("success_forgives", `needs per = "source" and "auth_failure" among the events`)
	}
	checkSpan(fail, "within", r.Within, time.Second, "10m")
	if r.SpareKnown != 0 {
		checkSpan(fail, "spare_known", r.SpareKnown, time.Second, "6h")
	}
}

// validateJudgement checks the half of r that says what follows.
func (r *Rule) validateJudgement(fail func(field, format string, args ...any)) {
	switch {
	case r.Action == Limit && r.Rate.Every <= 0:
		fail("rate", `is missing: action = "limit" needs a rate of connection openings, such as rate = "6/m"`)
	case r.Action == Limit && r.Rate.Burst < 1:
		fail("burst", "must be 1 or more, not %d", r.Rate.Burst)
	case r.Action == Drop && r.Rate != Rate{}:
		fail("rate", `is only for action = "limit": remove it, or change the action`)
	case r.Action != Limit && r.Action != Drop:
		fail("action", `must be "drop" or "limit"`)
	}
	checkSpan(fail, "for", r.For, time.Second, "1h")
	if math.IsNaN(r.Escalate) || r.Escalate != 0 && (r.Escalate < 1 || r.Escalate > maxEscalate) {
		fail("escalate", "must be 1 to %d, not %v", maxEscalate, r.Escalate)
	}
	if r.Cap != 0 {
		checkSpan(fail, "cap", r.Cap, time.Second, "7d")
		if r.Cap > 0 && r.Cap < r.For {
			fail("cap", "%s is shorter than for = %s: raise cap or shorten for", FormatDuration(r.Cap), FormatDuration(r.For))
		}
	}
	if r.Forget != 0 {
		checkSpan(fail, "forget", r.Forget, time.Second, "30d")
	}
}

func checkSpan(fail func(field, format string, args ...any), field string, d, least time.Duration, example string) {
	switch {
	case d == 0:
		fail(field, "is missing: give a duration such as %q", example)
	case d < least || d > MaxDuration:
		fail(field, "must be between %s and ten years", FormatDuration(least))
	}
}

func validRuleName(name string) bool {
	return name != "" && len(name) <= maxRuleName &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// ValidateRules checks each of rules and that their names differ. The errors
// are RuleErrors joined by errors.Join.
func ValidateRules(rules []Rule) error {
	var errs []error
	if len(rules) > MaxRules {
		errs = append(errs, fmt.Errorf("%d rules: at most %d are possible", len(rules), MaxRules))
	}
	seen := make(map[string]bool, len(rules))
	for i := range rules {
		r := &rules[i]
		if err := r.Validate(); err != nil {
			errs = append(errs, err)
		}
		if seen[r.Name] {
			errs = append(errs, &RuleError{Rule: r.Name, Field: "name", Reason: "is taken by an earlier rule: choose another"})
		}
		seen[r.Name] = true
	}
	return errors.Join(errs...)
}

// Lasts returns how long the decision on the n-th offence lasts, n from 1.
func (r *Rule) Lasts(n int) time.Duration {
	longest := MaxDuration
	if r.Cap > 0 {
		longest = r.Cap
	}
	d := float64(r.For)
	if r.Escalate > 1 {
		for i := 1; i < n && d < float64(longest); i++ {
			d *= r.Escalate
		}
	}
	return min(time.Duration(min(d, float64(longest))), longest)
}

// forget returns how long an offence is remembered.
func (r *Rule) forget() time.Duration {
	if r.Forget == 0 {
		return DefaultForget
	}
	return r.Forget
}

// definition returns a text that is equal for equal rules only. State is
// kept for a rule as long as its definition stays the same.
func (r *Rule) definition() string {
	return fmt.Sprintf("%s|%d|%d|%d|%d|%d|%t|%d|%d|%d|%d|%d|%x|%d|%d",
		r.Name, r.Events, r.Per, r.Measure, r.Threshold, r.Within, r.SuccessForgives, r.SpareKnown,
		r.Action, r.Rate.Every, r.Rate.Burst, r.For, math.Float64bits(r.Escalate), r.Cap, r.Forget)
}
