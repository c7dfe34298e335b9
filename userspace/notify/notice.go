package notify

import "time"

// Notice is what there is to tell of a flagged user. Its JSON is what webhooks
// and commands are given.
type Notice struct {
	User     string     `json:"user"`
	Action   string     `json:"action"` // guard, defer or limit
	Rule     string     `json:"rule"`
	Reason   string     `json:"reason"` // in plain words, with its numbers
	Since    time.Time  `json:"since"`
	Until    *time.Time `json:"until"`
	Offence  int        `json:"offence,omitempty"` // 1 for the first time
	Sources  []Source   `json:"sources,omitempty"` // that acted in the user's name, the first of them
	More     int        `json:"more_sources,omitempty"`
	Evidence []Line     `json:"evidence,omitempty"`
	Stopped  Stopped    `json:"stopped"`
	Release  string     `json:"release"` // the command that lifts it
	Explain  string     `json:"explain"` // the command that tells more
}

// Source is one that was flagged for what it did in the user's name, or that
// the evidence names.
type Source struct {
	Source   string `json:"source"`
	Action   string `json:"action,omitempty"` // empty: not flagged
	Reason   string `json:"reason,omitempty"`
	Attempts uint64 `json:"attempts,omitempty"` // connection openings since then
	Dropped  uint64 `json:"dropped,omitempty"`  // packets
}

// Line is an observation that counted.
type Line struct {
	Time       time.Time `json:"time"`
	Kind       string    `json:"kind"`
	Source     string    `json:"source,omitempty"`
	Service    string    `json:"service,omitempty"`
	Recipients int       `json:"recipients,omitempty"`
	Text       string    `json:"text,omitempty"` // the record as it was written
}

// Stopped is what was kept away so far.
type Stopped struct {
	Sources  int    `json:"sources"`  // flagged
	Attempts uint64 `json:"attempts"` // connection openings of theirs since then
	Packets  uint64 `json:"packets"`  // dropped
}

// Report is what is sent at once: one notice, or a digest of several.
type Report struct {
	Version int       `json:"version"` // 1
	Host    string    `json:"host"`
	Mode    string    `json:"mode"` // observe: nothing was touched
	Time    time.Time `json:"time"`
	Notices []Notice  `json:"notices"`
	Unnamed int       `json:"unnamed,omitempty"` // further users, for whom there was no room
}
