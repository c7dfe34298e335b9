// Package config reads weir's configuration file. It knows the file's words
// and the policy package's; what the values do is the business of others.
//
// Every problem is reported with file, line and remedy, and all problems of
// a file at once.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

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

// Config is a checked configuration file. The tags are the keys that say it.
type Config struct {
	Path          string            // the file it was read from
	Mode          Mode              `key:"mode"`
	Interfaces    []string          `key:"interfaces"` // names and globs, or exactly ["auto"]
	Ports         []uint16          `key:"ports"`      // protected TCP ports, ascending
	StateDir      string            `key:"state_dir"`
	ControlSocket string            `key:"control_socket"`
	BPFFS         string            `key:"bpffs"`   // folder on a bpffs for the pins
	Allow         []netip.Prefix    `key:"allow"`   // judged form, sorted, without duplicates
	Protect       []string          `key:"protect"` // of whom nobody is ever shut out: words of protectKinds
	Auto          bool              `key:"intake"`  // read besides what the installed servers write
	Intakes       []Intake          `key:"intake"`
	Rules         []policy.Rule     `key:"rule"` // policy.DefaultRules if the file has none
	Limits        policy.Limits     `key:"limits"`
	Entries       int               `key:"limits"` // room in each of the kernel's tables
	PostfixPolicy PostfixPolicy     `key:"postfix_policy"`
	Quota         policy.QuotaRules `key:"quota"` // bounds nothing if the file has none
	Ceiling       Ceiling           `key:"ceiling"`
	DovecotPolicy DovecotPolicy     `key:"dovecot_policy"`
	Lists         []List            `key:"list"`
	DNSBL         DNSBL             `key:"dnsbl"`
	Countries     string            `key:"geo"` // a database of countries, empty for none
	Notify        Notify            `key:"notify"`
	Warnings      Errors            // what is allowed and likely to hurt
}

// Default returns what an empty file means: it observes only, so that a
// forgotten line can not lock anybody out.
func Default() *Config {
	return &Config{
		Mode:          Observe,
		Interfaces:    []string{Auto},
		Ports:         []uint16{25, 465, 587},
		StateDir:      "/var/lib/weir",
		ControlSocket: "/run/weir/control.sock",
		BPFFS:         "/sys/fs/bpf/weir",
		Protect:       protectKinds(),
		Rules:         policy.DefaultRules(),
		Limits:        policy.DefaultLimits(),
		Entries:       1 << 18,
		PostfixPolicy: defaultPostfixPolicy(),
		Ceiling:       Ceiling{Rate: policy.Rate{Every: time.Second / 50, Burst: 1000}},
		Notify:        defaultNotify(),
	}
}

// Changed returns the keys that say in c something else than in old.
func (c *Config) Changed(old *Config) []string {
	var keys []string
	now, before := reflect.ValueOf(c.withoutLines()), reflect.ValueOf(old.withoutLines())
	for i, field := range reflect.VisibleFields(now.Type()) {
		if key := field.Tag.Get("key"); key != "" && !reflect.DeepEqual(now.Field(i).Interface(), before.Field(i).Interface()) {
			keys = append(keys, key)
		}
	}
	return slices.Compact(keys)
}

// withoutLines returns a copy of c that does not tell where its file says what.
func (c *Config) withoutLines() Config {
	plain := *c
	plain.Intakes = slices.Clone(c.Intakes)
	for i := range plain.Intakes {
		plain.Intakes[i].Line = 0
	}
	return plain
}

// Auto stands for the interfaces that carry a default route.
const Auto = "auto"

// minEntries and maxEntries bound the room in a kernel table. The most is what
// the kernel can allocate.
const (
	minEntries = 16
	maxEntries = 1 << 26
)

// maxFileSize bounds a configuration file, in bytes.
const maxFileSize = 16 << 20

// Load reads and checks the file at path. The error is an Errors.
func Load(path string) (*Config, error) {
	data, err := read(path)
	if err != nil {
		remedy := "look at the file's type and permissions, or name another with --config FILE"
		if errors.Is(err, fs.ErrNotExist) {
			remedy = "create it, or name another with --config FILE"
		}
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return nil, Errors{{File: path, Problem: "cannot be read: " + err.Error(), Remedy: remedy, Err: err}}
	}
	return Parse(path, data)
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err == nil && len(data) > maxFileSize {
		err = fmt.Errorf("larger than %d MiB", maxFileSize>>20)
	}
	return data, err
}

// Parse checks data, which was read from a file called name. The error is an
// Errors with everything that is wrong, except that TOML which is broken
// hides the rest.
func Parse(name string, data []byte) (*Config, error) {
	doc, top := parseDocument(name, data)
	if top == nil {
		return nil, doc.errors
	}
	c := Default()
	c.Path = name
	top.word("mode", &c.Mode, string(Enforce), `"observe" or "enforce"`)
	c.interfaces(top)
	c.ports(top)
	top.absolute("state_dir", &c.StateDir)
	top.absolute("control_socket", &c.ControlSocket)
	top.absolute("bpffs", &c.BPFFS)
	c.allow(top)
	c.protect(top)
	c.intakes(top)
	c.dovecotPolicy(top)
	c.lists(top)
	c.dnsbl(top)
	c.geo(top)
	c.notify(top)
	if rules := top.rules(); len(rules) > 0 {
		c.Rules = rules
	}
	if limits := top.section("limits"); limits != nil {
		for _, l := range []struct {
			key  string
			into *int
			low  int
			high int
		}{
			{"sources", &c.Limits.Sources, policy.MinSources, policy.MaxLimit},
			{"users", &c.Limits.Users, policy.MinUsers, policy.MaxLimit},
			{"observations", &c.Limits.Observations, policy.MinObservations, policy.MaxLimit},
			{"entries", &c.Entries, minEntries, maxEntries},
		} {
			if n, given := limits.integer(l.key, l.low, l.high); given {
				*l.into = n
			}
		}
		if grace := limits.duration("grace", "6h"); grace > 0 {
			c.Limits.Grace = grace
		}
		limits.finish()
	}
	c.postfixPolicy(top)
	c.quota(top)
	c.ceiling(top)
	top.finish()
	c.Warnings = doc.warnings
	if len(doc.errors) > 0 {
		slices.SortStableFunc(doc.errors, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
		return nil, doc.errors
	}
	return c, nil
}

// UnmarshalText reads a mode's name.
func (m *Mode) UnmarshalText(text []byte) error {
	switch Mode(text) {
	case Observe, Enforce:
		*m = Mode(text)
		return nil
	}
	return fmt.Errorf("unknown mode %q", text)
}

// absolute reads an absolute path.
func (s *section) absolute(key string, into *string) {
	text := s.text(key, *into)
	switch {
	case text == "":
	case !filepath.IsAbs(text) || strings.ContainsRune(text, 0):
		s.fail(key, fmt.Sprintf("is %q", text), "write a path that begins with /")
	default:
		*into = filepath.Clean(text)
	}
}
