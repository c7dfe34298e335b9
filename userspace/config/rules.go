package config

import (
	"encoding"
	"errors"
	"fmt"

	"weir/policy"
)

// rules reads every [[rule]].
func (s *section) rules() []policy.Rule {
	tables := s.sections("rule")
	if len(tables) > policy.MaxRules {
		tables[policy.MaxRules].doc.fail(tables[policy.MaxRules].line(""), fmt.Sprintf("%d rules", len(tables)),
			fmt.Sprintf("keep %d at most", policy.MaxRules))
		return nil
	}
	rules := make([]policy.Rule, len(tables))
	taken := make(map[string]int)
	for i, t := range tables {
		rules[i] = t.rule()
		name := rules[i].Name
		if line, found := taken[name]; found && name != "" {
			t.fail("name", fmt.Sprintf("is taken by the rule of line %d", line), "choose another")
		} else {
			taken[name] = t.line("name")
		}
		t.finish()
	}
	return rules
}

// rule reads one [[rule]] and checks it.
func (s *section) rule() policy.Rule {
	var r policy.Rule
	r.Name = s.text("name", "failures-per-source")
	if r.Name != "" {
		s.name = "rule " + shown(r.Name) + ": "
	}
	for i, text := range s.texts("events", "auth_failure") {
		var k policy.Kind
		if err := k.UnmarshalText([]byte(text)); err != nil && text != "" {
			s.failElement("events", i, fmt.Sprintf("names %q", text), "known are auth_failure, auth_success, message, unknown_recipient, connection, content and listed")
		}
		r.Events = append(r.Events, k)
	}
	s.word("per", &r.Per, "source", `"source", "user" or "prefix"`)
	s.word("measure", &r.Measure, "events", `"events", "recipients", "users", "sources", "networks", "countries" or "weight"`)
	r.Threshold, _ = s.integer("threshold", 1, policy.MaxThreshold)
	r.Within = s.duration("within", "10m")
	r.SuccessForgives = s.boolean("success_forgives")
	r.SpareKnown = s.duration("spare_known", "6h")
	r.SpareNeighbours = s.boolean("spare_neighbours")
	r.Settled = s.duration("settled", "3h")
	r.Baseline = s.number("baseline")
	r.Pressure = s.boolean("pressure")
	r.Steps, r.Action = s.ladder("action")
	s.word("user_action", &r.UserAction, "guard", `"guard", "limit" or "defer"`)
	r.UserFor = s.duration("user_for", "2h")
	r.Rate = s.rate("6/m")
	if text := s.text("bytes", "64K/s"); text != "" {
		bytes, err := policy.ParseBytes(text)
		if err != nil {
			s.fail("bytes", fmt.Sprintf("is %q", text), `write how many bytes may come in a second, from "1K/s" on, such as "64K/s" (units: K, M, G)`)
		}
		r.Rate.Bytes = bytes
	}
	if burst, given := s.integer("burst", 1, maxBurst); given {
		r.Rate.Burst = burst
	}
	r.For = s.duration("for", "1h")
	r.Escalate = s.number("escalate")
	r.Cap = s.duration("cap", "7d")
	r.Forget = s.duration("forget", "30d")

	s.validate(&r)
	return r
}

// ladder reads one action, or a list of them for one offence after the other,
// of which the last is for all that follow.
func (s *section) ladder(key string) (steps []policy.Action, last policy.Action) {
	const known = `write "limit", "tarpit" or "drop", or a list of them, milder ones first`
	v, found := s.get(key)
	if !found {
		return nil, 0
	}
	if _, one := v.(string); one {
		s.word(key, &last, "drop", `"limit", "tarpit" or "drop"`)
		return nil, last
	}
	for i, text := range s.texts(key, "drop") {
		var a policy.Action
		if err := a.UnmarshalText([]byte(text)); err != nil && text != "" {
			s.failElement(key, i, fmt.Sprintf("names %q", text), known)
		}
		steps = append(steps, a)
	}
	if len(steps) == 0 || s.broken[key] {
		if !s.broken[key] {
			s.fail(key, "is an empty list", known)
		}
		return nil, 0
	}
	return steps[:len(steps)-1], steps[len(steps)-1]
}

// rate reads how many connections may be opened.
func (s *section) rate(example string) policy.Rate {
	text := s.text("rate", example)
	if text == "" {
		return policy.Rate{}
	}
	rate, err := policy.ParseRate(text)
	if err != nil {
		s.fail("rate", fmt.Sprintf("is %q", text), fmt.Sprintf("write how many connections may be opened, such as %q (units: s, m, h, d)", example))
	}
	return rate
}

// maxBurst bounds how many connections a limited source may open at once.
const maxBurst = 1_000_000

// word reads one of several words. A broken one leaves the value at zero.
func (s *section) word(key string, into encoding.TextUnmarshaler, example, known string) {
	text := s.text(key, example)
	if text == "" {
		return
	}
	if err := into.UnmarshalText([]byte(text)); err != nil {
		s.fail(key, fmt.Sprintf("is %q", text), "write "+known)
	}
}

// validate points at what the policy package finds wrong with r, except for
// keys that have been complained about already.
func (s *section) validate(r *policy.Rule) {
	err := r.Validate()
	if err == nil {
		return
	}
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		s.doc.fail(s.line(""), s.name+err.Error(), "correct the rule")
		return
	}
	for _, err := range joined.Unwrap() {
		var e *policy.RuleError
		if !errors.As(err, &e) || s.broken[e.Field] || e.Field == "rate" && s.broken["bytes"] {
			continue
		}
		problem := e.Problem
		if e.Field == "threshold" && s.values["threshold"] == nil {
			problem = "is missing"
		}
		s.fail(e.Field, problem, e.Remedy)
	}
}
