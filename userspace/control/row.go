package control

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"weir/policy"
)

// Row is one decision as list shows it. Exactly one of Source and User is
// set. Until is nil for a pin without an end. Rate is openings a minute.
type Row struct {
	Source       string        `json:"source,omitempty"`
	User         string        `json:"user,omitempty"`
	Action       policy.Action `json:"action"`
	Since        time.Time     `json:"since"`
	Until        *time.Time    `json:"until"`
	Rule         string        `json:"rule"` // empty for a pin
	Pinned       bool          `json:"pinned"`
	Listed       bool          `json:"listed,omitempty"` // by the operator's list that Rule names; Reason has file and line
	Reason       string        `json:"reason"`
	Dropped      uint64        `json:"dropped"`                    // packets the kernel dropped
	Attempts     uint64        `json:"attempts,omitempty"`         // connection openings the kernel saw
	Rate         float64       `json:"rate,omitempty"`             // for limit
	Burst        int           `json:"burst,omitempty"`            // for limit
	Bytes        int64         `json:"bytes_per_second,omitempty"` // for limit
	Quota        string        `json:"quota,omitempty"`            // for quota: 300/1h recipients, 100/1h messages
	InForce      bool          `json:"in_force,omitempty"`         // the kernel holds it now
	OverriddenBy string        `json:"overridden_by,omitempty"`
}

// RowOf writes d as a Row. What the kernel knows is left for the caller.
func RowOf(d *policy.Decision) Row {
	row := Row{
		User:   d.User,
		Action: d.Action,
		Since:  d.Since,
		Rule:   d.Rule,
		Pinned: d.Pinned,
		Listed: d.Listed,
		Reason: d.Reason,
		Rate:   d.Rate.PerMinute(),
		Burst:  d.Rate.Burst,
		Bytes:  d.Rate.Bytes,
	}
	if d.User == "" {
		row.Source = policy.PrefixString(d.Prefix)
	}
	if d.Quota != nil {
		row.Quota = d.Quota.String()
	}
	if !d.Until.IsZero() {
		until := d.Until
		row.Until = &until
	}
	return row
}

// Target returns the source or user, as written.
func (r *Row) Target() string {
	if r.User != "" {
		return r.User
	}
	return r.Source
}

// ActionText returns the action and how much it lets through: "limit 6/m,
// 64K/s", "quota 300/1h recipients".
func (r *Row) ActionText() string {
	if rate := rateOf(r.Rate, r.Bytes).String(); rate != "" {
		return r.Action.String() + " " + rate
	}
	if r.Quota != "" {
		return r.Action.String() + " " + r.Quota
	}
	return r.Action.String()
}

// LimitText writes all of a limit: "6/m, burst 3, 64K/s"; empty if it is none.
func LimitText(perMinute float64, burst int, bytes int64) string {
	var words []string
	if openings := rateOf(perMinute, 0).String(); openings != "" {
		words = append(words, openings, fmt.Sprintf("burst %d", burst))
	}
	if bytes > 0 {
		words = append(words, policy.FormatBytes(bytes))
	}
	return strings.Join(words, ", ")
}

// rateOf is the rate of so many openings a minute and bytes a second.
func rateOf(perMinute float64, bytes int64) policy.Rate {
	r := policy.Rate{Bytes: bytes}
	if perMinute > 0 {
		r.Every = time.Duration(float64(time.Minute) / perMinute)
	}
	return r
}

// Filter selects decisions. The zero Filter selects all.
type Filter struct {
	Action policy.Action // 0: any
	Rule   string        // empty: any
	Pinned *bool         // nil: both
	Prefix netip.Prefix  // only this prefix and what is inside it; invalid: any
	Begins string        // only targets whose text begins so
}

// Matches reports whether f selects d.
func (f *Filter) Matches(d *policy.Decision) bool {
	switch {
	case f.Action != 0 && d.Action != f.Action,
		f.Rule != "" && d.Rule != f.Rule,
		f.Pinned != nil && d.Pinned != *f.Pinned:
		return false
	case f.Prefix.IsValid() && !covers(f.Prefix, d.Prefix):
		return false
	}
	return f.Begins == "" || strings.HasPrefix(d.Target.String(), f.Begins)
}

// covers reports whether all of inner is inside outer.
func covers(outer, inner netip.Prefix) bool {
	return inner.IsValid() && outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}
