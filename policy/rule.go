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

	Action Action // Limit, Tarpit or Drop
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
	Rule    string // its name, possibly empty
	Field   string // configuration key, such as "threshold"
	Problem string // what is wrong with the field
	Remedy  string // what to do about it
}

func (e *RuleError) Error() string {
	return fmt.Sprintf("rule %q: %s %s: %s", e.Rule, e.Field, e.Problem, e.Remedy)
}

// Validate reports everything that is wrong with r as RuleErrors joined by
// errors.Join, or nil.
func (r *Rule) Validate() error {
	c := ruleCheck{rule: r.Name}
	if !validRuleName(r.Name) {
		problem := "has other letters than rules are named with"
		if r.Name == "" {
			problem = "is missing"
		}
		c.fail("name", problem, fmt.Sprintf("write 1 to %d of a-z, 0-9 and -, such as failures-per-source", maxRuleName))
	}
	r.checkPattern(&c)
	r.checkJudgement(&c)
	return errors.Join(c.errs...)
}

// ruleCheck gathers what is wrong with one rule.
type ruleCheck struct {
	rule string
	errs []error
}

func (c *ruleCheck) fail(field, problem, remedy string) {
	c.errs = append(c.errs, &RuleError{Rule: c.rule, Field: field, Problem: problem, Remedy: remedy})
}

func (c *ruleCheck) span(field string, d time.Duration, example string) {
	remedy := fmt.Sprintf("write a duration of 1s to ten years, such as %q", example)
	switch {
	case d == 0:
		c.fail(field, "is missing", remedy)
	case d < time.Second || d > MaxDuration:
		c.fail(field, "is out of range", remedy)
	}
}

// checkPattern checks the half of r that says when it fires.
func (r *Rule) checkPattern(c *ruleCheck) {
	if len(r.Events) == 0 {
		c.fail("events", "is missing", `name what counts, such as ["auth_failure"]`)
	}
	for i, k := range r.Events {
		if int(k) >= len(kindNames) || k == 0 {
			c.fail("events", "holds an unknown kind", "name kinds of events only")
		} else if slices.Contains(r.Events[:i], k) {
			c.fail("events", "names "+k.String()+" twice", "remove one")
		}
	}
	if r.Per != PerSource && r.Per != PerUser {
		c.fail("per", "is missing", `write "source" or "user"`)
	}
	switch r.Measure {
	case MeasureEvents:
	case MeasureRecipients:
		if len(r.Events) != 1 || r.Events[0] != Message {
			c.fail("measure", "counts recipients, which only messages have", `set events = ["message"]`)
		}
	case MeasureUsers:
		if r.Per == PerUser {
			c.fail("measure", "counts the users of one user", `set per = "source", or measure = "sources"`)
		}
	case MeasureSources:
		if r.Per == PerSource {
			c.fail("measure", "counts the sources of one source", `set per = "user", or measure = "users"`)
		}
	default:
		c.fail("measure", "is missing", `write "events", "recipients", "users" or "sources"`)
	}
	top := MaxThreshold
	if r.Measure == MeasureUsers || r.Measure == MeasureSources {
		top = MaxDistinctThreshold
	}
	if r.Threshold < 1 || r.Threshold > top {
		c.fail("threshold", fmt.Sprintf("is %d", r.Threshold), fmt.Sprintf("write a number from 1 to %d", top))
	}
	if r.SuccessForgives && (r.Per == PerUser || !slices.Contains(r.Events, AuthFailure)) {
		c.fail("success_forgives", "has nothing to forgive", `set per = "source" and name "auth_failure" among the events, or remove it`)
	}
	c.span("within", r.Within, "10m")
	if r.SpareKnown != 0 {
		c.span("spare_known", r.SpareKnown, "6h")
	}
}

// checkJudgement checks the half of r that says what follows.
func (r *Rule) checkJudgement(c *ruleCheck) {
	switch {
	case r.Action == 0:
		c.fail("action", "is missing", `write "drop", "tarpit" or "limit"`)
	case r.Action != Limit && r.Action != Tarpit && r.Action != Drop:
		c.fail("action", fmt.Sprintf("%q is not for rules", r.Action), `write "drop", "tarpit" or "limit"`)
	case r.Action != Limit && r.Rate.Bytes != 0:
		c.fail("bytes", fmt.Sprintf("has no meaning for action = %q", r.Action), `remove it, or set action = "limit"`)
	case r.Action != Limit && r.Rate != Rate{}:
		c.fail("rate", fmt.Sprintf("has no meaning for action = %q", r.Action), `remove it, or set action = "limit"`)
	case r.Action != Limit:
	case r.Rate.Bytes != 0 && (r.Rate.Bytes < MinBytes || r.Rate.Bytes > MaxBytes):
		c.fail("bytes", fmt.Sprintf("is %d", r.Rate.Bytes), "write 1K/s to 1024G/s")
	case r.Rate.Bytes != 0 && r.Rate.Every == 0 && r.Rate.Burst == 0:
	case r.Rate.Every <= 0:
		c.fail("rate", `is missing, and action is "limit"`, `write how many connections may be opened, such as rate = "6/m", or how many bytes may come, such as bytes = "64K/s"`)
	case r.Rate.Burst < 1:
		c.fail("burst", fmt.Sprintf("is %d", r.Rate.Burst), "write 1 or more")
	}
	c.span("for", r.For, "1h")
	if math.IsNaN(r.Escalate) || r.Escalate != 0 && (r.Escalate < 1 || r.Escalate > maxEscalate) {
		c.fail("escalate", fmt.Sprintf("is %v", r.Escalate), fmt.Sprintf("write a factor from 1 to %d", maxEscalate))
	}
	if r.Cap != 0 {
		c.span("cap", r.Cap, "7d")
		if r.Cap > 0 && r.Cap < r.For {
			c.fail("cap", fmt.Sprintf("of %s is shorter than for = %q", FormatDuration(r.Cap), FormatDuration(r.For)), "raise cap or shorten for")
		}
	}
	if r.Forget != 0 {
		c.span("forget", r.Forget, "30d")
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
			errs = append(errs, &RuleError{Rule: r.Name, Field: "name", Problem: "is taken by an earlier rule", Remedy: "choose another"})
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
	return fmt.Sprintf("%s|%d|%d|%d|%d|%d|%t|%d|%d|%d|%d|%d|%x|%d|%d|%d",
		r.Name, r.Events, r.Per, r.Measure, r.Threshold, r.Within, r.SuccessForgives, r.SpareKnown,
		r.Action, r.Rate.Every, r.Rate.Burst, r.For, math.Float64bits(r.Escalate), r.Cap, r.Forget, r.Rate.Bytes)
}
