package control

import "time"

// Status tells how the agent is. Rates are a second, over the last interval
// that the agent measured; durations are seconds.
type Status struct {
	Version    string        `json:"version"`
	Mode       string        `json:"mode"`              // observe or enforce
	Panic      *Panic        `json:"panic,omitempty"`   // everything passes: then mode is observe, whatever is configured
	Confirm    *Confirmation `json:"confirm,omitempty"` // what mode enforce waits for
	PID        int           `json:"pid"`
	Started    time.Time     `json:"started"`
	Uptime     float64       `json:"uptime_seconds"`
	Ports      []uint16      `json:"ports"`
	Interfaces []Interface   `json:"interfaces"`
	Counters   []Counter     `json:"counters"`
	Intakes    []Intake      `json:"intakes"`
	Notes      []string      `json:"notes,omitempty"`    // what auto-detection has to say besides
	Patterns   []Pattern     `json:"patterns,omitempty"` // those that were found, the most frequent first
	Ceiling    *Ceiling      `json:"ceiling,omitempty"`  // in mode enforce, if there is one
	Table      Table         `json:"table"`
	ReadBack   *ReadBack     `json:"read_back,omitempty"` // null in mode observe
	Store      Store         `json:"store"`

	PostfixPolicy *PolicyServer `json:"postfix_policy,omitempty"` // nil: it does not run
	Decisions     Decisions     `json:"decisions"`
	Errors        []Fault       `json:"errors,omitempty"` // the last ones, newest first
}

// Interface is one network interface of the selection.
type Interface struct {
	Name   string `json:"name"`
	Mode   string `json:"mode"`             // native, generic, tcx, clsact, none
	Reason string `json:"reason,omitempty"` // why this mode
}

// Ceiling is how many connections any source may open.
type Ceiling struct {
	Rate  float64  `json:"rate"` // openings a minute
	Burst int      `json:"burst"`
	Ports []uint16 `json:"ports"`
}

// Counter is one named exit of the kernel program.
type Counter struct {
	Name    string  `json:"name"`
	Packets uint64  `json:"packets"`
	Bytes   uint64  `json:"bytes,omitempty"`
	Rate    float64 `json:"rate"` // packets a second
}

// Intake is one source of records.
type Intake struct {
	Name          string  `json:"name"`            // type and path, such as file:/var/log/mail.log
	Type          string  `json:"type"`            // file, journal, syslog
	Found         string  `json:"found,omitempty"` // by auto-detection: whose lines these are, and why they are read here
	State         string  `json:"state"`
	Lines         uint64  `json:"lines"`
	Events        uint64  `json:"events"`
	Rate          float64 `json:"rate"`              // lines a second
	Lost          uint64  `json:"lost"`              // lines known to be lost
	Losses        []Loss  `json:"losses,omitempty"`  // the same, by reason
	Cut           uint64  `json:"cut,omitempty"`     // lines that were too long and lack their end
	Ignored       uint64  `json:"ignored,omitempty"` // journal: entries of users' sessions and of other hosts
	Refused       uint64  `json:"refused,omitempty"` // syslog: messages or connections of senders that may not send
	Lag           float64 `json:"lag_seconds"`
	Behind        int64   `json:"behind_bytes,omitempty"` // file: written and not read yet
	NotUnderstood uint64  `json:"not_understood"`         // lines that named an address and fit no pattern
	Sample        string  `json:"sample,omitempty"`       // the last such line
	Error         string  `json:"error,omitempty"`
}

// Loss counts lines that were lost for one reason.
type Loss struct {
	Reason string    `json:"reason"`
	Count  uint64    `json:"count"`
	Last   time.Time `json:"last"`
}

// Pattern counts the lines that were understood in one way.
type Pattern struct {
	Name  string `json:"name"`
	Lines uint64 `json:"lines"`
}

// Table is the fill of the kernel's verdict table, which has four parts of the
// same capacity: sources and prefixes of IPv4 and of IPv6.
type Table struct {
	Used     int `json:"used"`    // in all parts
	Fullest  int `json:"fullest"` // in the part that has most
	Capacity int `json:"capacity"`

	// Since the agent took the table over: entries that found no room, and
	// those that made room because they ended first.
	Refused   uint64 `json:"refused,omitempty"`
	Displaced uint64 `json:"displaced,omitempty"`
}

// ReadBack tells what comparing the kernel with what was decided has found:
// programs, pins and packets every few seconds, the table by samples then, and
// as a whole every few minutes.
type ReadBack struct {
	Checks      uint64     `json:"checks"`
	Last        time.Time  `json:"last"`
	Differences uint64     `json:"differences"`          // found since the agent started
	Repaired    uint64     `json:"repaired"`             // of those
	Difference  string     `json:"difference,omitempty"` // the last one
	Found       *time.Time `json:"found,omitempty"`      // when it was found
	Standing    string     `json:"standing,omitempty"`   // what could not be put right yet
}

// Store is the state of what is kept on disk.
type Store struct {
	Path       string     `json:"path"`
	Bytes      int64      `json:"bytes"`
	Checkpoint *time.Time `json:"checkpoint"` // when the last one was written; null: none yet
	Error      string     `json:"error,omitempty"`
}

// Decisions counts what stands.
type Decisions struct {
	Total     int            `json:"total"`
	Pinned    int            `json:"pinned"`
	Users     int            `json:"users"` // those about users, not sources
	ByAction  map[string]int `json:"by_action,omitempty"`
	Suspended int            `json:"suspended,omitempty"` // overridden by a pin or an allow entry
}

// Fault is an error of the agent.
type Fault struct {
	Time  time.Time `json:"time"`
	Text  string    `json:"text"`
	Count int       `json:"count,omitempty"` // how often the same came in a row
}
