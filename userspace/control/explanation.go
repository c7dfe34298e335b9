package control

import (
	"net/netip"
	"time"

	"weir/policy"
)

// Explanation is everything that concerns one target.
type Explanation struct {
	Target    string        `json:"target"`              // in its judged form
	Mode      string        `json:"mode"`                // observe or enforce
	Verdict   string        `json:"verdict"`             // what happens to it: an action, or pass
	Why       string        `json:"why"`                 // one sentence: what wins, and over what
	InForce   bool          `json:"in_force"`            // the kernel really does it (users: the agent does)
	Problem   string        `json:"problem,omitempty"`   // why it is not in force although it should be
	Decisions []Judgement   `json:"decisions,omitempty"` // the one that wins first
	Allow     []Allow       `json:"allow,omitempty"`     // allow entries of the configuration that cover it, and of who is protected
	Kernel    []KernelEntry `json:"kernel,omitempty"`    // entries that the kernel holds for it, longest first
}

// Judgement is one decision with all that is known of it.
type Judgement struct {
	Row
	Wins     bool      `json:"wins"`
	Offence  int       `json:"offence,omitempty"` // 1 for the first time
	By       string    `json:"by,omitempty"`      // who pinned
	Evidence *Evidence `json:"evidence,omitempty"`
}

// JudgementOf writes d with its evidence. What the kernel knows and whether
// it wins are left for the caller.
func JudgementOf(d *policy.Decision) Judgement {
	j := Judgement{Row: RowOf(d), Offence: d.Offence, By: d.By}
	if d.Evidence.Count == 0 {
		return j
	}
	j.Evidence = &Evidence{Count: d.Evidence.Count, FirstLine: d.Evidence.FirstLine, LastLine: d.Evidence.LastLine}
	for _, o := range d.Evidence.Sample {
		j.Evidence.Sample = append(j.Evidence.Sample, Observation(o))
	}
	return j
}

// Evidence is what a rule counted: how much, and a bounded sample.
type Evidence struct {
	Count     int           `json:"count"`
	FirstLine uint64        `json:"first_line,omitempty"`
	LastLine  uint64        `json:"last_line,omitempty"`
	Sample    []Observation `json:"sample,omitempty"`
}

// Observation is policy.Observation with its names on the wire.
type Observation struct {
	Time       time.Time   `json:"time"`
	Kind       policy.Kind `json:"kind"`
	Source     netip.Addr  `json:"source,omitzero"`
	User       string      `json:"user,omitempty"`
	Service    string      `json:"service,omitempty"`
	Server     string      `json:"server,omitempty"`
	Recipients int         `json:"recipients,omitempty"`
	Line       uint64      `json:"line,omitempty"`
	Text       string      `json:"text,omitempty"` // the record as it was written, if still known
}

// KernelEntry is what the verdict table holds.
type KernelEntry struct {
	Prefix  string     `json:"prefix"`
	Action  string     `json:"action"`
	Expires *time.Time `json:"expires"`        // null: never
	Rate    float64    `json:"rate,omitempty"` // openings a minute
	Burst   int        `json:"burst,omitempty"`

	BytesPerSecond int64 `json:"bytes_per_second,omitempty"` // on open connections

	Attempts uint64 `json:"attempts"` // connection openings seen
	Dropped  uint64 `json:"dropped"`  // packets
}

// Allow is a prefix that is always let through, and why.
type Allow struct {
	Prefix string `json:"prefix"`
	Reason string `json:"reason"`
}
