package policy

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

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
	if r.Per < PerSource || r.Per > PerPrefix {
		c.fail("per", "is missing", `write "source", "user" or "prefix"`)
	}
	r.checkMeasure(c)
	if top := r.top(); r.Threshold < 1 || r.Threshold > top {
		c.fail("threshold", fmt.Sprintf("is %d", r.Threshold), fmt.Sprintf("write a number from 1 to %d", top))
	}
	if r.SuccessForgives && (r.Per == PerPrefix ||
		!slices.Contains(r.Events, AuthFailure) && (r.Per != PerSource || !slices.Contains(r.Events, Connection))) {
		c.fail("success_forgives", "has nothing to forgive", `name "auth_failure" (or, per source, "connection") among the events, or remove it`)
	}
	c.span("within", r.Within, "10m")
	if r.SpareKnown != 0 {
		c.span("spare_known", r.SpareKnown, "6h")
	}
	r.checkStrangers(c)
}

// top returns the highest threshold that r may have.
func (r *Rule) top() int {
	switch {
	case r.Per == PerPrefix:
		return ringLength
	case r.Measure.distinct():
		return MaxDistinctThreshold
	case r.Measure == MeasureWeight:
		return MaxWeightThreshold
	}
	return MaxThreshold
}

func (r *Rule) checkMeasure(c *ruleCheck) {
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
	case MeasureSources, MeasureNetworks, MeasureCountries:
		if r.Per == PerSource {
			c.fail("measure", "counts the "+r.Measure.String()+" of one source", `set per = "user", or measure = "users"`)
		}
	case MeasureWeight:
		if r.Per != PerSource {
			c.fail("measure", "weighs what one source does", `set per = "source"`)
		}
		for _, k := range r.Events {
			if k != AuthFailure && k != UnknownRecipient && k != Connection && k != Listed {
				c.fail("measure", "cannot weigh "+k.String(), `name only "auth_failure", "unknown_recipient", "connection" and "listed"`)
			}
		}
	default:
		c.fail("measure", "is missing", `write "events", "recipients", "users", "sources", "networks", "countries" or "weight"`)
	}
	if r.Per == PerPrefix && r.Measure != MeasureSources && r.Measure != 0 {
		c.fail("measure", "is not for prefixes", `set measure = "sources"`)
	}
}

// checkStrangers checks what only some kinds of rules may have.
func (r *Rule) checkStrangers(c *ruleCheck) {
	if r.SpareNeighbours && (r.Per != PerUser || r.SpareKnown == 0) {
		c.fail("spare_neighbours", "has no meaning here", `set per = "user" and spare_known, or remove it`)
	}
	if r.Settled != 0 {
		c.span("settled", r.Settled, "3h")
		if r.Per != PerUser {
			c.fail("settled", "is about users", `set per = "user", or remove it`)
		}
	}
	if math.IsNaN(r.Baseline) || r.Baseline < 0 || r.Baseline > maxBaseline {
		c.fail("baseline", fmt.Sprintf("is %v", r.Baseline), fmt.Sprintf("write a factor from 0 to %d", maxBaseline))
	} else if r.Baseline != 0 && (r.Per != PerUser || r.Measure != MeasureRecipients) {
		c.fail("baseline", "is about what users send", `set per = "user" and measure = "recipients", or remove it`)
	}
	if r.Pressure && (r.Per != PerSource || r.Measure != MeasureWeight) {
		c.fail("pressure", "is about first offences of sources", `set per = "source" and measure = "weight", or remove it`)
	}
}

// checkJudgement checks the half of r that says what follows.
func (r *Rule) checkJudgement(c *ruleCheck) {
	spares := r.Per == PerUser && r.UserAction != 0 // its sources may go on
	limits := r.Action == Limit || slices.Contains(r.Steps, Limit) || r.UserAction == Limit
	switch {
	case limits && r.Rate.Bytes != 0 && (r.Rate.Bytes < MinBytes || r.Rate.Bytes > MaxBytes):
		c.fail("bytes", fmt.Sprintf("is %d", r.Rate.Bytes), "write 1K/s to 1024G/s")
	case limits && r.Rate.Bytes != 0 && r.Rate.Every == 0 && r.Rate.Burst == 0:
	case limits && r.Rate.Every <= 0:
		c.fail("rate", `is missing, and an action is "limit"`, `write how many connections may be opened, such as rate = "6/m", or how many bytes may come, such as bytes = "64K/s"`)
	case limits && r.Rate.Burst < 1:
		c.fail("burst", fmt.Sprintf("is %d", r.Rate.Burst), "write 1 or more")
	case !limits && r.Rate.Bytes != 0 && r.Action != 0:
		c.fail("bytes", fmt.Sprintf("has no meaning for action = %q", r.Action), `remove it, or set action = "limit"`)
	case !limits && r.Rate != Rate{} && r.Action != 0:
		c.fail("rate", fmt.Sprintf("has no meaning for action = %q", r.Action), `remove it, or set action = "limit"`)
	}
	switch {
	case r.Action == 0 && !spares:
		c.fail("action", "is missing", `write "drop", "tarpit" or "limit", or a list of them, milder ones first`)
	case r.Action != 0 && severity(r.Action) == 0:
		c.fail("action", fmt.Sprintf("%q is not for rules", r.Action), `write "drop", "tarpit" or "limit"`)
	}
	if len(r.Steps) > maxSteps {
		c.fail("action", fmt.Sprintf("has %d steps", len(r.Steps)+1), fmt.Sprintf("keep %d at most", maxSteps+1))
	}
	before := 1
	for _, a := range r.Steps {
		if severity(a) < before || severity(a) > severity(r.Action) {
			c.fail("action", "is no ladder", `write milder actions first, such as ["limit", "tarpit", "drop"]`)
			break
		}
		before = severity(a)
	}
	if len(r.Steps) > 0 && r.Per != PerSource {
		c.fail("action", "has steps, which only sources climb", `write one action, or set per = "source"`)
	}
	switch r.UserAction {
	case 0, Guard, Limit, Defer:
		if r.UserAction != 0 && r.Per != PerUser {
			c.fail("user_action", "is about users", `set per = "user", or remove it`)
		}
	default:
		c.fail("user_action", fmt.Sprintf("%q is not for users", r.UserAction), `write "guard", "limit" or "defer"`)
	}
	r.checkSpans(c)
}

// checkSpans checks how long r's decisions last.
func (r *Rule) checkSpans(c *ruleCheck) {
	c.span("for", r.For, "1h")
	if r.UserFor != 0 {
		c.span("user_for", r.UserFor, "2h")
		if r.Per != PerUser {
			c.fail("user_for", "is about users", `set per = "user", or remove it`)
		}
	}
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
	prefixes := ""
	for i := range rules {
		r := &rules[i]
		if err := r.Validate(); err != nil {
			errs = append(errs, err)
		}
		if seen[r.Name] {
			errs = append(errs, &RuleError{Rule: r.Name, Field: "name", Problem: "is taken by an earlier rule", Remedy: "choose another"})
		}
		seen[r.Name] = true
		if r.Per == PerPrefix {
			if prefixes != "" {
				errs = append(errs, &RuleError{Rule: r.Name, Field: "per", Problem: `is "prefix", as that of rule ` + prefixes, Remedy: "keep one rule per prefix"})
			}
			prefixes = r.Name
		}
	}
	return errors.Join(errs...)
}
