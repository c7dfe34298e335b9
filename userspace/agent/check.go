package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/policy"
	"weir/userspace/check"
	"weir/userspace/config"
	"weir/userspace/control"
	"weir/userspace/intake/detect"
	"weir/userspace/protect"
)

// CheckOptions say what to examine a host by.
type CheckOptions struct {
	ConfigPath string
	Socket     string           // of the agent
	Version    string           // of the program
	Now        func() time.Time // its location is the one in which times are told
	Patience   time.Duration    // for reading the last days of logs
	host       func() detect.Host
}

// DefaultCheckOptions examine this host.
func DefaultCheckOptions() CheckOptions {
	return CheckOptions{ConfigPath: config.DefaultPath, Socket: control.DefaultSocket, Now: time.Now, Patience: 30 * time.Second, host: detect.ThisHost}
}

// Check examines this host: what weir is configured to do, what it meets here,
// and what it would have decided in the last day. It needs neither an agent nor
// privileges, says what it could not see, and changes nothing. It fails only
// if ctx ends.
func Check(ctx context.Context, o CheckOptions) (*check.Report, error) {
	host := o.host()
	now := o.Now()
	f := &check.Facts{Version: o.Version, Now: now}
	f.Host, _ = os.Hostname()
	c := checkedConfig(o.ConfigPath, &f.Configuration)
	f.Settings = settingsOf(c, host, now)

	sockets, err := check.LookAtSockets(host.FS)
	f.Configuration.Listening, f.Configuration.NotSeen = sockets.Listening, err
	f.Configuration.SSH, f.Configuration.Available = sshPorts(host.FS), memoryAvailable(host.FS)
	f.Configuration.Tables = tableBytes + int64(c.Entries)*entryBytes

	f.Privileges = check.LookAtPrivileges()
	f.Kernel = check.LookAtKernel(host.FS)
	f.Interfaces = check.LookAtInterfaces(c.Interfaces)
	f.Pins = check.LookAtPins(c.BPFFS)
	f.State = check.LookAtState(c.StateDir)
	f.Unit = check.LookAtUnit(host.Run)
	f.Agent = askAgent(ctx, o)
	f.Agent.Started = f.Unit.IsEnabled() || f.Pins.Links > 0
	f.Servers = check.LookAtServers(host.FS, host.Run, sockets)
	f.Clock = check.LookAtClock(now)

	all, found := inputsOf(c, host)
	if found != nil {
		f.Logs.Notes = notesOf(found)
	}
	for _, w := range all {
		limited, stop := context.WithTimeout(ctx, o.Patience)
		f.Logs.All = append(f.Logs.All, lookAtLog(limited, w, now))
		stop()
	}
	f.Rules = judgeDay(ctx, c, f.Settings.Spared, all, now, o.Patience)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return check.NewReport(f), nil
}

// What the kernel's tables take at once, and for each entry there may be
// (loader.Options).
const (
	tableBytes = 4 << 20
	entryBytes = 100
)

// checkedConfig returns the configuration, or the default one where it cannot
// be used, and notes why.
func checkedConfig(path string, to *check.Configuration) *config.Config {
	c, err := config.Load(path)
	var problems config.Errors
	switch {
	case err == nil:
		to.Warnings = problemsOf(c.Warnings)
		return c
	case errors.Is(err, fs.ErrNotExist):
		to.Missing = true
	case errors.Is(err, fs.ErrPermission):
		to.Unreadable = fmt.Errorf("%s: %w; the rest is told as if it were empty", path, fs.ErrPermission)
	case errors.As(err, &problems):
		to.Errors = problemsOf(problems)
	default:
		to.Errors = []check.Problem{{Text: err.Error()}}
	}
	c = config.Default()
	c.Path, c.Auto = path, true
	return c
}

func problemsOf(all config.Errors) (out []check.Problem) {
	for _, e := range all {
		out = append(out, check.Problem{Line: e.Line, Text: e.Problem, Remedy: e.Remedy})
	}
	return out
}

func settingsOf(c *config.Config, host detect.Host, now time.Time) check.Settings {
	s := check.Settings{
		File: c.Path, Enforce: c.Mode == config.Enforce, Ports: c.Ports, StateDir: c.StateDir,
		PolicyListen: c.PostfixPolicy.Listen, DovecotListen: c.DovecotPolicy.Listen, Network: speaksIP(c),
	}
	for _, p := range c.Allow {
		s.Spared = append(s.Spared, check.Spared{Prefix: p, Why: "allow"})
	}
	finder := protect.Finder{Kinds: c.Protect, Sessions: protect.DefaultSessions, FS: host.FS}
	found, _ := finder.Find(now) // the agent itself says what it cannot find
	for _, one := range found {
		s.Spared = append(s.Spared, check.Spared{Prefix: policy.JudgedPrefix(one.Prefix), Why: "protect: " + one.Reason})
	}
	return s
}

// speaksIP names the parts of a configuration that have the agent speak IP.
func speaksIP(c *config.Config) (out []string) {
	add := func(name string, wanted bool) {
		if wanted {
			out = append(out, name)
		}
	}
	tcp := func(l string) bool { return strings.HasPrefix(l, "tcp:") }
	add("[dovecot_policy]", slices.ContainsFunc(c.DovecotPolicy.Listen, tcp))
	add("[postfix_policy]", slices.ContainsFunc(c.PostfixPolicy.Listen, tcp))
	add("[[intake]] over a network", slices.ContainsFunc(c.Intakes, func(in config.Intake) bool { return in.Address.IsValid() }))
	add("[dnsbl]", len(c.DNSBL.Zones) > 0)
	add("webhook", c.Notify.Webhook != "")
	return out
}

// askAgent returns what the agent says of itself.
func askAgent(ctx context.Context, o CheckOptions) check.Agent {
	client := control.NewClient(o.Socket, o.Version)
	defer client.Close()
	st, err := client.Status(ctx)
	if err != nil {
		return check.Agent{Down: err, Forbidden: errors.Is(err, control.ErrForbidden), Stranger: errors.Is(err, control.ErrProtocol)}
	}
	return agentFacts(st, o.Now())
}

func agentFacts(st *control.Status, now time.Time) check.Agent {
	a := check.Agent{
		Version: st.Version, PID: st.PID, Enforces: st.Mode == string(config.Enforce), StoreError: st.Store.Error, Notes: st.Notes,
		Interfaces: make(map[string]check.Attached), Intakes: make(map[string]check.Read),
	}
	if p := st.Panic; p != nil {
		a.Panic = "since " + p.Since.In(now.Location()).Format(time.DateTime)
		if p.By != "" {
			a.Panic += ", by " + p.By
		}
		if p.Reason != "" {
			a.Panic += ": " + p.Reason
		}
	}
	switch c := st.Confirm; {
	case c == nil:
	case c.Reverted:
		a.Unkept = "mode enforce was not confirmed in time, and nothing is enforced (weir confirm --again)"
	case a.Enforces:
		a.Unkept = "what is enforced ends at " + c.Until.In(now.Location()).Format(time.DateTime) + " unless it is confirmed"
	}
	if st.ReadBack != nil {
		a.Standing = st.ReadBack.Standing
	}
	for _, e := range st.Errors {
		a.Faults = append(a.Faults, check.Fault{Time: e.Time.In(now.Location()), Text: e.Text, Count: e.Count})
	}
	for _, i := range st.Interfaces {
		a.Interfaces[i.Name] = check.Attached{Mode: i.Mode, Reason: i.Reason}
	}
	for _, in := range st.Intakes {
		a.Intakes[in.Name] = check.Read{
			Lines: in.Lines, Events: in.Events, Lost: in.Lost, NotUnderstood: in.NotUnderstood,
			Behind: in.Behind, Lag: time.Duration(in.Lag * float64(time.Second)), Error: in.Error,
		}
	}
	return a
}

// sshPorts are those that sshd is configured to listen on (sshd_config(5)).
func sshPorts(root fs.FS) (ports []uint16) {
	more, _ := fs.Glob(root, "etc/ssh/sshd_config.d/*.conf")
	for _, name := range append([]string{"etc/ssh/sshd_config"}, more...) {
		text, _ := fs.ReadFile(root, name) // without it, the default holds
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			if len(words) > 1 && strings.EqualFold(words[0], "Port") {
				if n, err := strconv.ParseUint(words[1], 10, 16); err == nil {
					ports = append(ports, uint16(n))
				}
			}
		}
	}
	if len(ports) == 0 {
		return []uint16{config.SSH}
	}
	return ports
}

// memoryAvailable reads MemAvailable of /proc/meminfo, in bytes; 0 if it is
// not told.
func memoryAvailable(root fs.FS) int64 {
	text, _ := fs.ReadFile(root, "proc/meminfo") // 0 says that it is not known
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "MemAvailable:" {
			n, _ := strconv.ParseInt(words[1], 10, 64)
			return n << 10
		}
	}
	return 0
}
