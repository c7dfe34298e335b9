package check

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Severity says how bad a finding is.
type Severity uint8

const (
	OK      Severity = iota // as it should be
	Note                    // worth to know; nothing has to be done
	Warning                 // weir works, and not as well as it could, or not for long
	Error                   // weir does not protect, or mail or people are in danger
)

// Severities returns the names of all, the least first.
func Severities() []string { return []string{"ok", "note", "warning", "error"} }

func (s Severity) String() string { return Severities()[s] }

// MarshalText writes the name of s.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name.
func (s *Severity) UnmarshalText(text []byte) error {
	i := slices.Index(Severities(), string(text))
	if i < 0 {
		return fmt.Errorf("unknown severity %q (known: ok, note, warning, error)", text)
	}
	*s = Severity(i)
	return nil
}

// Finding is one thing that was looked at.
type Finding struct {
	Field    string   `json:"field"`   // of examination
	Subject  string   `json:"subject"` // what of it
	Severity Severity `json:"severity"`
	Seen     string   `json:"seen"`
	Remedy   string   `json:"remedy,omitempty"`
	Details  []Detail `json:"details,omitempty"`
}

// Detail is a part of what was seen, such as a line of a log.
type Detail struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Report is all that was found.
type Report struct {
	Version  string         `json:"version"` // of the program
	Host     string         `json:"host"`
	Time     time.Time      `json:"time"`
	Severity Severity       `json:"severity"` // the worst
	Counts   map[string]int `json:"counts"`   // of findings, by severity
	Findings []Finding      `json:"findings"` // by field
}

// NewReport examines what was gathered.
func NewReport(f *Facts) *Report {
	r := &Report{Version: f.Version, Host: f.Host, Time: f.Now, Counts: make(map[string]int)}
	for _, name := range Severities() {
		r.Counts[name] = 0
	}
	for _, field := range fields() {
		b := &book{field: field.name}
		field.examine(f, b)
		r.Findings = append(r.Findings, b.findings...)
	}
	for i := range r.Findings {
		s := r.Findings[i].Severity
		r.Severity = max(r.Severity, s)
		r.Counts[s.String()]++
	}
	return r
}

// Facts are what was gathered.
type Facts struct {
	Version string // of the program
	Host    string
	Now     time.Time

	Settings      Settings
	Configuration Configuration
	Agent         Agent
	Unit          Unit
	Privileges    Privileges
	Kernel        Kernel
	Interfaces    Interfaces
	Pins          Pins
	State         State
	Logs          Logs
	Servers       Servers
	Clock         Clock
	Rules         Rules
}

// fields are those of examination, in the order in which they are told.
func fields() []struct {
	name    string
	examine func(*Facts, *book)
} {
	return []struct {
		name    string
		examine func(*Facts, *book)
	}{
		{"configuration", configuration}, {"agent", agent}, {"unit", unit}, {"privileges", privileges}, {"kernel", kernel},
		{"interfaces", interfaces}, {"bpffs", pins}, {"state", state}, {"logs", logs}, {"postfix", postfix}, {"dovecot", dovecot},
		{"exim", exim}, {"proxies", proxies}, {"clock", clock}, {"rules", rules},
	}
}

// book is where a field's findings are written.
type book struct {
	field    string
	findings []Finding
}

func (b *book) add(s Severity, subject, remedy, format string, args ...any) *Finding {
	b.findings = append(b.findings, Finding{Field: b.field, Subject: subject, Severity: s, Remedy: remedy, Seen: fmt.Sprintf(format, args...)})
	return &b.findings[len(b.findings)-1]
}

func (b *book) ok(subject, format string, args ...any) *Finding {
	return b.add(OK, subject, "", format, args...)
}

// unseen notes what could not be looked at, and how it can be.
func (b *book) unseen(subject string, err error, remedy string) {
	b.add(Note, subject, cmp.Or(remedy, "run weir check as root"), "could not be seen: %v", err)
}

func (f *Finding) detail(name, text string) *Finding {
	if text != "" {
		f.Details = append(f.Details, Detail{name, text})
	}
	return f
}
