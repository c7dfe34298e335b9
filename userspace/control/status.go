package control

import "time"

// Status tells how the agent is. Rates are a second, over the last interval
// that the agent measured; durations are seconds.
type Status struct {
	Version    string      `json:"version"`
	Mode       string      `json:"mode"` // observe or enforce
	PID        int         `json:"pid"`
	Started    time.Time   `json:"started"`
	Uptime     float64     `json:"uptime_seconds"`
	Ports      []uint16    `json:"ports"`
	Interfaces []Interface `json:"interfaces"`
	Counters   []Counter   `json:"counters"`
	Intakes    []Intake    `json:"intakes"`
	Table      Table       `json:"table"`
	Store      Store       `json:"store"`
	Decisions  Decisions   `json:"decisions"`
	Errors     []Fault     `json:"errors,omitempty"` // the last ones, newest first
}

// Interface is one network interface of the selection.
type Interface struct {
	Name   string `json:"name"`
	Mode   string `json:"mode"`             // native, generic, none
	Reason string `json:"reason,omitempty"` // why this mode
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
	Name          string  `json:"name"` // type and path, such as file:/var/log/mail.log
	Type          string  `json:"type"` // file, journal, syslog
	Lines         uint64  `json:"lines"`
	Events        uint64  `json:"events"`
	Rate          float64 `json:"rate"` // lines a second
	Lost          uint64  `json:"lost"` // lines known to be lost
	Lag           float64 `json:"lag_seconds"`
	NotUnderstood uint64  `json:"not_understood"`   // lines that named an address and fit no pattern
	Sample        string  `json:"sample,omitempty"` // the last such line
	Error         string  `json:"error,omitempty"`
}

// Table is the fill of the kernel's verdict table.
type Table struct {
	Used     int `json:"used"`
	Capacity int `json:"capacity"`
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
