package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"weir/policy"
	"weir/userspace/maillog"
)

// format writes what a replay finds. The names of JSON members are an
// interface that others script against.
type format struct {
	out       io.Writer
	json      *json.Encoder
	output    string
	events    bool
	ledger    *policy.Ledger
	decided   func(*policy.Decision) // nil: nobody asks
	decisions int
	err       error // the first of writing
}

func newFormat(o ReplayOptions, out io.Writer, ledger *policy.Ledger) (*format, error) {
	switch o.Output {
	case OutputText, OutputJSONL, OutputNone:
	default:
		return nil, fmt.Errorf("unknown output %q: want %s, %s or %s", o.Output, OutputText, OutputJSONL, OutputNone)
	}
	f := &format{out: out, json: json.NewEncoder(out), output: o.Output, events: o.Events, decided: o.decided, ledger: ledger}
	f.json.SetEscapeHTML(false)
	return f, nil
}

// stamp is RFC 3339 in UTC, always with six digits of fraction.
type stamp time.Time

func (s stamp) MarshalText() ([]byte, error) {
	return time.Time(s).UTC().AppendFormat(nil, "2006-01-02T15:04:05.000000Z07:00"), nil
}

type eventLine struct {
	Time       stamp       `json:"time"`
	Kind       policy.Kind `json:"kind"`
	Source     string      `json:"source"`
	User       string      `json:"user"`
	Service    string      `json:"service"`
	Server     string      `json:"server"`
	Recipients int         `json:"recipients"`
	Line       uint64      `json:"line"`
}

type decisionLine struct {
	Time     stamp         `json:"time"`
	Action   policy.Action `json:"action"`
	Source   string        `json:"source,omitempty"`
	User     string        `json:"user,omitempty"`
	Until    *stamp        `json:"until"`
	Rate     float64       `json:"rate,omitempty"` // openings a minute
	Burst    int           `json:"burst,omitempty"`
	Bytes    int64         `json:"bytes_per_second,omitempty"` // on open connections
	Rule     string        `json:"rule"`
	Reason   string        `json:"reason"`
	Evidence evidenceLine  `json:"evidence"`
}

type evidenceLine struct {
	Count     int    `json:"count"`
	FirstLine uint64 `json:"first_line"`
	LastLine  uint64 `json:"last_line"`
}

func (f *format) event(e *policy.Event) {
	if !f.events {
		return
	}
	l := eventLine{
		Time: stamp(e.Time), Kind: e.Kind, User: e.User, Service: e.Service, Server: e.Server,
		Recipients: e.Recipients, Line: e.Line,
	}
	if e.Source.IsValid() {
		l.Source = e.Source.String()
	}
	f.write(l)
}

func (f *format) decision(d *policy.Decision) {
	if f.decided != nil {
		f.decided(d)
	}
	f.ledger.Expire(d.Since)
	f.ledger.Put(d.Since, *d)
	if allowed(f.ledger, d) {
		return
	}
	f.decisions++
	switch f.output {
	case OutputJSONL:
		f.write(decisionLineOf(d))
	case OutputText:
		f.text(d)
	}
}

func decisionLineOf(d *policy.Decision) decisionLine {
	l := decisionLine{
		Time: stamp(d.Since), Action: d.Action, User: d.User, Rate: d.Rate.PerMinute(), Burst: d.Rate.Burst, Bytes: d.Rate.Bytes, Rule: d.Rule, Reason: d.Reason,
		Evidence: evidenceLine{Count: d.Evidence.Count, FirstLine: d.Evidence.FirstLine, LastLine: d.Evidence.LastLine},
	}
	if d.User == "" {
		l.Source = d.Prefix.String()
	}
	if !d.Until.IsZero() {
		until := stamp(d.Until)
		l.Until = &until
	}
	return l
}

func (f *format) text(d *policy.Decision) {
	action := d.Action.String()
	if d.Action == policy.Limit {
		action += " " + d.Rate.String()
	}
	f.printf("%s  %-10s %-20s for %-6s %s: %s\n", d.Since.UTC().Format(time.RFC3339), action, printable(d.Target.String()),
		policy.FormatDuration(d.Until.Sub(d.Since).Round(time.Second)), d.Rule, printable(d.Reason))
}

// failed implements stagedObserver.
func (f *format) failed() error { return f.err }

// summary ends the text form.
func (f *format) summary(s maillog.Stats) {
	if f.output != OutputText {
		return
	}
	f.printf("lines: %d; events: %d; decisions: %d\n", s.Lines, s.Events, f.decisions)
	if s.NotUnderstood > 0 {
		f.printf("lines that name a client and were not understood: %d, such as: %s\n", s.NotUnderstood, printable(s.Sample))
	}
}

func (f *format) write(v any) {
	if err := f.json.Encode(v); err != nil && f.err == nil {
		f.err = fmt.Errorf("write output: %w", err)
	}
}

func (f *format) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(f.out, format, args...); err != nil && f.err == nil {
		f.err = fmt.Errorf("write output: %w", err)
	}
}

// printable replaces what could steer a terminal: attackers choose names.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
