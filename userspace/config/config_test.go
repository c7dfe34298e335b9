package config

import (
	"errors"
	"flag"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

const full = `
mode = "enforce"
interfaces = ["eth0", "veth*"]
ports = [587, 25, 465, 993, 25]
state_dir = "/srv/weir/"
control_socket = "/run/w.sock"
bpffs = "/run/weir/bpf"
allow = [
  "192.0.2.7", # the monitor
  "2001:db8::1",
  "10.0.0.0/8",
  "192.0.2.7/32",
]

[[intake]]
type = "file"
path = "/var/log/mail.log"

[[intake]]
type = "journal"
units = ["postfix@-.service", "dovecot.service"]

[[intake]]
type = "syslog"
path = "/run/weir/syslog.sock"

[[intake]]
type = "syslog"
listen = "tcp:[::]:601"
from = ["192.0.2.7", "2001:db8::1", "2001:db8:1::9/64", "192.0.2.7/32"]

[[intake]]
type = "syslog"
listen = "unix:/run/weir//other.sock"

[[rule]]
name = "failures"
events = ["auth_failure"]
per = "source"
measure = "events"
threshold = 12
within = "10m"
success_forgives = true
spare_known = "1h30m"
action = "limit"
rate = "6/m"
burst = 4
bytes = "64K/s"
for = "1h"
escalate = 2.5
cap = "2w"
forget = "30d"

[[rule]]
name = "volume"
events = ["message"]
per = "user"
measure = "recipients"
threshold = 500
within = "1h"
action = "drop"
for = "6h"

[limits]
sources = 1000
entries = 4096

[ceiling]
rate = "600/m"
burst = 30
ports = [993, 587]
`

func TestParseFull(t *testing.T) {
	c := mustParse(t, full)
	limits := policy.DefaultLimits()
	limits.Sources = 1000
	want := &Config{
		Path: "weir.toml", Mode: Enforce, Interfaces: []string{"eth0", "veth*"}, Ports: []uint16{25, 465, 587, 993},
		StateDir: "/srv/weir", ControlSocket: "/run/w.sock", BPFFS: "/run/weir/bpf", Limits: limits, Protect: protectKinds(), Entries: 4096, Notify: defaultNotify(),
		PostfixPolicy: defaultPostfixPolicy(),
		Ceiling:       Ceiling{Rate: policy.Rate{Every: 100 * time.Millisecond, Burst: 30}, Ports: []uint16{993, 587}},
		Intakes: []Intake{
			{Type: "file", Path: "/var/log/mail.log", Line: 15},
			{Type: "journal", Units: []string{"postfix@-.service", "dovecot.service"}, Line: 19},
			{Type: "syslog", Network: "unix", Path: "/run/weir/syslog.sock", Line: 23},
			{Type: "syslog", Network: "tcp", Address: netip.MustParseAddrPort("[::]:601"), Line: 27, From: []netip.Prefix{
				netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::1/128"), netip.MustParsePrefix("2001:db8:1::/64"),
			}},
			{Type: "syslog", Network: "unix", Path: "/run/weir/other.sock", Line: 32},
		},
		Rules: []policy.Rule{
			{
				Name: "failures", Events: []policy.Kind{policy.AuthFailure}, Per: policy.PerSource, Measure: policy.MeasureEvents,
				Threshold: 12, Within: 10 * time.Minute, SuccessForgives: true, SpareKnown: 90 * time.Minute,
				Action: policy.Limit, Rate: policy.Rate{Every: 10 * time.Second, Burst: 4, Bytes: 64 << 10},
				For: time.Hour, Escalate: 2.5, Cap: 14 * 24 * time.Hour, Forget: 30 * 24 * time.Hour,
			},
			{
				Name: "volume", Events: []policy.Kind{policy.Message}, Per: policy.PerUser, Measure: policy.MeasureRecipients,
				Threshold: 500, Within: time.Hour, Action: policy.Drop, For: 6 * time.Hour,
			},
		},
	}
	for _, s := range []string{"10.0.0.0/8", "192.0.2.7/32", "2001:db8::/64"} {
		p, err := policy.ParsePrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		want.Allow = append(want.Allow, p)
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got\n%+v\nwant\n%+v", c, want)
	}
}

func TestCeiling(t *testing.T) {
	c := mustParse(t, "ports = [25, 587, 993]")
	if c.Ceiling.Rate != (policy.Rate{Every: 20 * time.Millisecond, Burst: 1000}) || !slices.Equal(c.CeilingPorts(), []uint16{587, 993}) {
		t.Errorf("by default %v on %v", c.Ceiling.Rate, c.CeilingPorts())
	}
	c = mustParse(t, "[ceiling]\nrate = \"off\"\nburst = 5")
	if c.Ceiling.Rate != (policy.Rate{}) {
		t.Errorf("off is %v", c.Ceiling.Rate)
	}
}

func TestParseEmptyIsDefault(t *testing.T) {
	c, want := mustParse(t, ""), Default()
	want.Path = "weir.toml"
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want %+v", c, want)
	}
	if c.Mode != Observe {
		t.Errorf("mode is %q without being told", c.Mode)
	}
	if err := policy.ValidateRules(c.Rules); err != nil {
		t.Error(err)
	}
}

func TestParseInlineTables(t *testing.T) {
	c := mustParse(t, `intake = [ { type = "file", path = "/a" },
	  { type = "file", path = "/b" } ]
limits = { users = 99 }`)
	if len(c.Intakes) != 2 || c.Intakes[1].Path != "/b" || c.Limits.Users != 99 {
		t.Errorf("got %+v", c)
	}
}

func TestParseAuto(t *testing.T) {
	if c := mustParse(t, `intake = "auto"`); !c.Auto || c.Intakes != nil {
		t.Errorf("got %+v", c)
	}
	c := mustParse(t, "[[intake]]\ntype = \"auto\"\n[[intake]]\ntype = \"file\"\npath = \"/a\"\n")
	if !c.Auto || len(c.Intakes) != 1 || c.Intakes[0].Path != "/a" {
		t.Errorf("got %+v", c)
	}
}

// TestErrors compares what is said about each broken file with its golden.
func TestErrors(t *testing.T) {
	inputs, err := filepath.Glob("testdata/errors/*.toml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no inputs: %v", err)
	}
	for _, input := range inputs {
		t.Run(strings.TrimSuffix(filepath.Base(input), ".toml"), func(t *testing.T) {
			data, err := os.ReadFile(input)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse("weir.toml", data)
			if err == nil {
				t.Fatal("no error")
			}
			golden := strings.TrimSuffix(input, ".toml") + ".golden"
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func TestLoadMissing(t *testing.T) {
	_, err := Load("/nonexistent/weir.toml")
	const want = "/nonexistent/weir.toml: cannot be read: no such file or directory: create it, or name another with --config FILE"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("errors.Is does not find fs.ErrNotExist")
	}
}

func TestLoadDirectory(t *testing.T) {
	if _, err := Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("got %v", err)
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.toml")
	if err := os.WriteFile(path, []byte(full), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.Path != path {
		t.Errorf("path is %s", c.Path)
	}
}

// FuzzParse holds Parse to its promises: no panic, and each error has a line
// of the file, a problem and a remedy.
func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	inputs, err := filepath.Glob("testdata/errors/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, input := range inputs {
		data, err := os.ReadFile(input)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("weir.toml", data)
		if err == nil {
			if err := policy.ValidateRules(c.Rules); err != nil {
				t.Fatalf("accepted rules that are not valid: %v", err)
			}
			if err := c.Limits.Validate(); err != nil {
				t.Fatalf("accepted limits that are not valid: %v", err)
			}
			return
		}
		var list Errors
		if !errors.As(err, &list) || len(list) == 0 {
			t.Fatalf("%T instead of Errors", err)
		}
		lines := 1 + strings.Count(string(data), "\n")
		for _, e := range list {
			if e.Line < 1 || e.Line > lines || e.Problem == "" || e.Remedy == "" {
				t.Fatalf("incomplete error of a file of %d lines: %+v", lines, e)
			}
		}
	})
}

func mustParse(tb testing.TB, text string) *Config {
	tb.Helper()
	c, err := Parse("weir.toml", []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestProtect(t *testing.T) {
	for text, want := range map[string][]string{
		"":                             protectKinds(),
		"protect = []":                 nil,
		`protect = ["gateways","own"]`: {"gateways", "own"},
	} {
		if got := mustParse(t, text).Protect; !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if _, err := Parse("weir.toml", []byte(`protect = ["gateway"]`)); err == nil || !strings.Contains(err.Error(), `holds "gateway": write some of`) {
		t.Errorf("an unknown kind: %v", err)
	}
}

// TestWarnings: protecting the port of SSH is allowed, and said.
func TestWarnings(t *testing.T) {
	c := mustParse(t, "ports = [\n  25,\n  22,\n]\n")
	if len(c.Warnings) != 1 || c.Warnings[0].Line != 3 || !strings.Contains(c.Warnings[0].Error(), "22") || c.Warnings[0].Remedy == "" {
		t.Errorf("of port 22: %v", c.Warnings)
	}
	if c := mustParse(t, "ports = [25, 220]\n"); len(c.Warnings) != 0 {
		t.Errorf("of ports of mail: %v", c.Warnings)
	}
}
