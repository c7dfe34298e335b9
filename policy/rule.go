package policy

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Per says what a rule keeps its counts for.
type Per uint8

const (
	PerSource Per = iota + 1 // each source by itself; the source is flagged
	PerUser                  // each user by itself; the sources that acted for the user are flagged
	PerPrefix                // each /24 or IPv6 /48 by itself; what misbehaves of it is flagged, at once
)

var perNames = [...]string{PerSource: "source", PerUser: "user", PerPrefix: "prefix"}

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
		return fmt.Errorf("unknown per %q (known: source, user, prefix)", text)
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
	MeasureSources                       // distinct sources; of successes those of networks that not many users succeed from
	MeasureNetworks                      // distinct networks (Source.network) that not many users succeed from
	MeasureCountries                     // distinct countries; see Locator
	MeasureWeight                        // points: what each event weighs by its circumstances; see weigh
)

var measureNames = [...]string{
	MeasureEvents:     "events",
	MeasureRecipients: "recipients",
	MeasureUsers:      "users",
	MeasureSources:    "sources",
	MeasureNetworks:   "networks",
	MeasureCountries:  "countries",
	MeasureWeight:     "weight",
}

// distinct reports whether m counts different things, and not events.
func (m Measure) distinct() bool {
	return m == MeasureUsers || m == MeasureSources || m == MeasureNetworks || m == MeasureCountries
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
		return fmt.Errorf("unknown measure %q (known: events, recipients, users, sources, networks, countries, weight)", text)
	}
	*m = Measure(i)
	return nil
}

// Bounds of a rule. A window keeps at most as many observations as its
// threshold, and a distinct count walks them, hence the lower bound there.
const (
	MaxThreshold         = 100_000
	MaxDistinctThreshold = 1_000
	MaxWeightThreshold   = 1_000
	MaxRules             = 64
	maxRuleName          = 64
	maxEscalate          = 1_000
	maxBaseline          = 1_000
	maxSteps             = 7
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

	// SuccessForgives takes back what a user's earlier failures from a source
	// added to a window, of the source or of the user, when that user
	// succeeds from there; and all that a source's connections added when
	// anybody does, or when a message comes in. Only for rules over auth
	// failures or connections.
	SuccessForgives bool

	// SpareKnown, if not zero, leaves familiar sources out: they add nothing
	// to the window and are not flagged by the rule. Per source, familiar
	// means that some user succeeded from it at least this long ago; per
	// user, that this user did. A success counts for FamiliarFor after the
	// latest one.
	SpareKnown time.Duration

	// SpareNeighbours leaves out, per user, what comes from a network (IPv4
	// /16, IPv6 /32) that the user has succeeded from for as long as
	// SpareKnown, too: carriers and providers give out new addresses. And once
	// the rule has fired, no source is flagged any more that the user has
	// succeeded from before and that was not flagged then.
	SpareNeighbours bool

	// Settled, if not zero, counts for a user only what comes from strangers:
	// sources that the user first succeeded from (if ever) this long after
	// one that it still uses; for a user who has none, sources from whose
	// network nobody is known to succeed, or less than from another, or hardly
	// anybody while the user comes from where many do. Where hardly anybody
	// does, a source is familiar only after twice SpareKnown. The
	// threshold is a quarter while the user's password is in doubt, and half
	// while all users' strangers together send far more than is normal, or,
	// within a day or longer, from a network of which hardly any users are.
	Settled time.Duration

	// Baseline, if not zero, raises the threshold of a rule per user to this
	// many times what the user sends to on an average day, in recipients.
	Baseline float64

	// Pressure makes the rule hold only while the site is under pressure
	// (see pressure), and only for sources that had RedeemWithin to succeed
	// after their first offence and did not. Only per source, by weight.
	Pressure bool

	// Steps are the actions for the first offences of a source, one each;
	// after them comes Action. A source that is under a step and succeeds in
	// good faith is let go.
	Steps  []Action
	Action Action // Limit, Tarpit or Drop
	Rate   Rate   // for Limit

	// UserAction is what happens to the user itself under a rule per user:
	// Guard (which zero means), Limit or Defer. If it is set, Action may be
	// left out; then the user's sources are not flagged. UserFor is how long
	// that lasts, zero means as long as for sources.
	UserAction Action
	UserFor    time.Duration

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

// actionFor returns what follows from the n-th offence, n from 1.
func (r *Rule) actionFor(n int) Action {
	if n <= len(r.Steps) {
		return r.Steps[n-1]
	}
	return r.Action
}

// userAction returns what happens to the user itself.
func (r *Rule) userAction() Action {
	if r.UserAction == 0 {
		return Guard
	}
	return r.UserAction
}

// countsPlaces reports whether r counts from how many places a user acts.
func (r *Rule) countsPlaces() bool {
	return r.Measure == MeasureSources || r.Measure == MeasureNetworks
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
	return fmt.Sprintf("%s|%d|%d|%d|%d|%d|%t|%d|%t|%d|%x|%t|%d|%d|%v|%d|%d|%d|%x|%d|%d",
		r.Name, r.Events, r.Per, r.Measure, r.Threshold, r.Within, r.SuccessForgives, r.SpareKnown,
		r.SpareNeighbours, r.Settled, math.Float64bits(r.Baseline), r.Pressure, r.Steps,
		r.Action, r.Rate, r.UserAction, r.UserFor, r.For, math.Float64bits(r.Escalate), r.Cap, r.Forget)
}
