package policy

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	good := []struct {
		in    string
		want  time.Duration
		write string
	}{
		{"90s", 90 * time.Second, "1m30s"},
		{"10m", 10 * time.Minute, "10m"},
		{"1h30m", 90 * time.Minute, "1h30m"},
		{"30d", 720 * time.Hour, "30d"},
		{"2w", 336 * time.Hour, "14d"},
		{"1w1d1h1m1s", (8*24+1)*time.Hour + 61*time.Second, "8d1h1m1s"},
		{"3660d", MaxDuration, "3660d"},
	}
	for _, tt := range good {
		got, err := ParseDuration(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("%q: got %s, %v; want %s", tt.in, got, err, tt.want)
		}
		if s := FormatDuration(got); s != tt.write {
			t.Errorf("%q is written %q, want %q", tt.in, s, tt.write)
		}
		if again, err := ParseDuration(FormatDuration(got)); err != nil || again != got {
			t.Errorf("%q does not come back: %s, %v", tt.in, again, err)
		}
	}
	for _, in := range []string{"", "10", "m", "-5m", "+5m", "1.5h", "5m1h", "1h1h", "10 m", "0s", "0h0m", "3661d", "99999999999d", "1y", "5ms", "10m "} {
		if d, err := ParseDuration(in); err == nil {
			t.Errorf("%q is read as %s", in, d)
		}
	}
}

func TestRuleLasts(t *testing.T) {
	r := Rule{For: time.Hour, Escalate: 4, Cap: 24 * time.Hour}
	for n, want := range map[int]time.Duration{1: time.Hour, 2: 4 * time.Hour, 3: 16 * time.Hour, 4: 24 * time.Hour, 60000: 24 * time.Hour} {
		if got := r.Lasts(n); got != want {
			t.Errorf("offence %d lasts %s, want %s", n, got, want)
		}
	}
	r = Rule{For: time.Hour, Escalate: 10}
	if got := r.Lasts(60000); got != MaxDuration {
		t.Errorf("without cap: %s", got)
	}
	r = Rule{For: time.Hour}
	if got := r.Lasts(9); got != time.Hour {
		t.Errorf("without escalation: %s", got)
	}
}

func TestRuleValidate(t *testing.T) {
	good := Rule{Name: "r", Events: []Kind{AuthFailure}, Per: PerSource, Measure: MeasureEvents, Threshold: 5,
		Within: time.Minute, Action: Drop, For: time.Minute}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		change func(*Rule)
		field  string
	}{
		{func(r *Rule) { r.Name = "" }, "name"},
		{func(r *Rule) { r.Name = "a b" }, "name"},
		{func(r *Rule) { r.Name = strings.Repeat("x", 65) }, "name"},
		{func(r *Rule) { r.Events = nil }, "events"},
		{func(r *Rule) { r.Events = []Kind{99} }, "events"},
		{func(r *Rule) { r.Events = []Kind{Message, Message} }, "events"},
		{func(r *Rule) { r.Per = 0 }, "per"},
		{func(r *Rule) { r.Measure = 9 }, "measure"},
		{func(r *Rule) { r.Measure = MeasureRecipients }, "measure"},
		{func(r *Rule) { r.Measure = MeasureSources }, "measure"},
		{func(r *Rule) { r.Per, r.Measure = PerUser, MeasureUsers }, "measure"},
		{func(r *Rule) { r.Threshold = 0 }, "threshold"},
		{func(r *Rule) { r.Measure, r.Threshold = MeasureUsers, MaxDistinctThreshold+1 }, "threshold"},
		{func(r *Rule) { r.Events, r.SuccessForgives = []Kind{Message}, true }, "success_forgives"},
		{func(r *Rule) { r.Per, r.Events, r.SuccessForgives = PerUser, []Kind{Connection}, true }, "success_forgives"},
		{func(r *Rule) { r.Per, r.Measure, r.Threshold = PerPrefix, MeasureSources, ringLength+1 }, "threshold"},
		{func(r *Rule) { r.Per, r.Measure = PerPrefix, MeasureEvents }, "measure"},
		{func(r *Rule) { r.Per, r.Measure = PerUser, MeasureWeight }, "measure"},
		{func(r *Rule) { r.Events, r.Measure = []Kind{Message}, MeasureWeight }, "measure"},
		{func(r *Rule) { r.SpareNeighbours = true }, "spare_neighbours"},
		{func(r *Rule) { r.Settled = time.Hour }, "settled"},
		{func(r *Rule) { r.Baseline = 2 }, "baseline"},
		{func(r *Rule) {
			r.Per, r.Events, r.Measure, r.Baseline = PerUser, []Kind{Message}, MeasureRecipients, math.NaN()
		}, "baseline"},
		{func(r *Rule) { r.Pressure = true }, "pressure"},
		{func(r *Rule) { r.Steps = []Action{Drop, Tarpit} }, "action"},
		{func(r *Rule) { r.Steps = []Action{Guard} }, "action"},
		{func(r *Rule) { r.Per, r.Steps = PerUser, []Action{Tarpit} }, "action"},
		{func(r *Rule) { r.Steps = []Action{Limit} }, "rate"},
		{func(r *Rule) { r.UserAction = Defer }, "user_action"},
		{func(r *Rule) { r.Per, r.UserAction = PerUser, Drop }, "user_action"},
		{func(r *Rule) { r.UserFor = time.Hour }, "user_for"},
		{func(r *Rule) { r.Within = 0 }, "within"},
		{func(r *Rule) { r.Within = MaxDuration + 1 }, "within"},
		{func(r *Rule) { r.SpareKnown = -1 }, "spare_known"},
		{func(r *Rule) { r.Action = Limit }, "rate"},
		{func(r *Rule) { r.Action, r.Rate = Limit, Rate{Every: 1} }, "burst"},
		{func(r *Rule) { r.Rate.Burst = 1 }, "rate"},
		{func(r *Rule) { r.Action = Guard }, "action"},
		{func(r *Rule) { r.For = 0 }, "for"},
		{func(r *Rule) { r.Escalate = 0.5 }, "escalate"},
		{func(r *Rule) { r.Escalate = math.NaN() }, "escalate"},
		{func(r *Rule) { r.Cap = time.Second }, "cap"},
		{func(r *Rule) { r.Forget = -time.Hour }, "forget"},
	}
	for _, tt := range tests {
		r := good
		tt.change(&r)
		err := r.Validate()
		var e *RuleError
		if !errors.As(err, &e) || e.Field != tt.field || e.Problem == "" || e.Remedy == "" {
			t.Errorf("%+v: got %v, want a problem with %s", r, err, tt.field)
		}
	}
	if err := ValidateRules([]Rule{good, good}); err == nil || !strings.Contains(err.Error(), `rule "r": name is taken by an earlier rule`) {
		t.Errorf("same name twice: %v", err)
	}
	if err := ValidateRules(make([]Rule, MaxRules+1)); err == nil || !strings.Contains(err.Error(), "65 rules: at most 64") {
		t.Error("65 rules are fine")
	}
}

func TestParsePrefix(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7":          "192.0.2.7/32",
		"192.0.2.7/24":       "192.0.2.0/24",
		"2001:db8::1":        "2001:db8::/64",
		"2001:db8::1/96":     "2001:db8::/64",
		"::ffff:192.0.2.7":   "192.0.2.7/32",
		"2001:db8:ffff::/32": "2001:db8::/32",
	} {
		if p, err := ParsePrefix(in); err != nil || p.String() != want {
			t.Errorf("%s: got %s, %v; want %s", in, p, err, want)
		}
	}
	for _, in := range []string{"", "x", "192.0.2.7/33", "192.0.2", "fe80::1%eth0", "1.2.3.4/a"} {
		if p, err := ParsePrefix(in); err == nil {
			t.Errorf("%q is read as %s", in, p)
		}
	}
}
