package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Build builds weir from the module that the working directory is in, into
// the file binary; where the environment has a built one (WEIR_BINARY), that
// is copied.
func Build(ctx context.Context, binary string) error {
	if built := os.Getenv("WEIR_BINARY"); built != "" {
		content, err := os.ReadFile(built)
		if err != nil {
			return fmt.Errorf("copy weir: %w", err)
		}
		return os.WriteFile(binary, content, 0o755)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binary, "weir/cmd/weir")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build weir: %w\n%s", err, out)
	}
	return nil
}

// Weir is an agent on the lab's mail host, and its commands.
type Weir struct {
	Binary string
	Config string // path of its configuration file
	*Process
	lab *Lab
}

// Ports that weir protects in the lab: submission and IMAP.
const Ports = "[25, 143, 465, 587, 993]"

// Weir writes a configuration: what the lab dictates, and more, which is
// TOML; LAB/ in it stands for the lab's folder. It starts nothing.
func (l *Lab) Weir(binary, mode, more string) (*Weir, error) {
	w := &Weir{Binary: binary, Config: l.Path("weir.toml"), lab: l}
	return w, w.Configure(mode, more)
}

// Configure writes the configuration anew.
func (w *Weir) Configure(mode, more string) error {
	l := w.lab
	// Keys first and tables last, as TOML has it.
	text := fmt.Sprintf(`mode = %q
interfaces = [%q]
ports = %s
state_dir = %q
control_socket = %q
bpffs = %q
%s

[[intake]]
type = "file"
path = %q
`, mode, Interface, Ports, l.Path("state"), l.Path("control.sock"), l.Path("bpf", "weir"),
		strings.ReplaceAll(more, "LAB/", l.Dir+"/"), l.MailLog())
	if err := os.WriteFile(w.Config, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// Start runs the agent on the mail host and waits until it answers.
func (w *Weir) Start(ctx context.Context) error {
	if err := w.Launch(); err != nil {
		return err
	}
	err := Poll(ctx, Patience, "weir to answer", func() bool {
		select {
		case <-w.Exited():
			return true
		default:
		}
		status, err := w.Status(ctx)
		return err == nil && status.PID == w.PID()
	})
	select {
	case <-w.Exited():
		err = fmt.Errorf("it ended with status %d", w.ExitCode())
	default:
	}
	if err != nil {
		return fmt.Errorf("start weir: %w\n%s", err, w.lab.Output("weir"))
	}
	return nil
}

// Launch runs the agent, with more environment, and does not wait.
//
// The agent holds the capabilities that its systemd unit gives it and no
// others, so that every run in the lab shows that these are enough.
func (w *Weir) Launch(env ...string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	set, err := unitCapabilities(filepath.Join(root, "packaging", "weir.service"))
	if err != nil {
		return err
	}
	cmd := exec.Command("setpriv", "--bounding-set", set, "--inh-caps", "-all", w.Binary, "run", "--config", w.Config)
	cmd.Env = append(os.Environ(), env...)
	p, err := w.lab.Start(w.lab.Mail, "weir", cmd)
	if err != nil {
		return err
	}
	w.Process = p
	return nil
}

// unitCapabilities reads CapabilityBoundingSet of a systemd unit and writes it
// as setpriv(1) wants it: "-all,+bpf,+net_admin".
func unitCapabilities(unit string) (string, error) {
	text, err := os.ReadFile(unit)
	if err != nil {
		return "", fmt.Errorf("read capabilities: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		names, found := strings.CutPrefix(strings.TrimSpace(line), "CapabilityBoundingSet=")
		if !found {
			continue
		}
		set := "-all"
		for _, name := range strings.Fields(names) {
			set += ",+" + strings.ToLower(strings.TrimPrefix(name, "CAP_"))
		}
		return set, nil
	}
	return "", fmt.Errorf("read capabilities: no CapabilityBoundingSet in %s", unit)
}

// Run runs one of weir's commands on the mail host and returns what it wrote
// to standard output. An error holds what it wrote to standard error, and an
// *exec.ExitError.
func (w *Weir) Run(ctx context.Context, args ...string) (string, error) {
	return w.RunInput(ctx, nil, args...)
}

// RunInput is Run with standard input.
func (w *Weir) RunInput(ctx context.Context, input []byte, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, w.Binary, append([]string{"--config", w.Config}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &stdout, &stderr
	// Run in the namespace: a command may look at the network by itself.
	if err := w.lab.Mail.Do(cmd.Run); err != nil {
		return stdout.String(), fmt.Errorf("weir %s: %w: %s", args, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

// Row is a row of `weir list -o json`, as documented for scripts.
type Row struct {
	Source  string     `json:"source"`
	User    string     `json:"user"`
	Action  string     `json:"action"`
	Since   time.Time  `json:"since"`
	Until   *time.Time `json:"until"`
	Rule    string     `json:"rule"`
	Pinned  bool       `json:"pinned"`
	Reason  string     `json:"reason"`
	Dropped uint64     `json:"dropped"`
}

// List runs `weir list -o json` with more arguments.
func (w *Weir) List(ctx context.Context, args ...string) ([]Row, error) {
	out, err := w.Run(ctx, append([]string{"list", "-o", "json"}, args...)...)
	if err != nil {
		return nil, err
	}
	var rows []Row
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		return nil, fmt.Errorf("read output of weir list: %w: %q", err, out)
	}
	return rows, nil
}

// Find returns the row about source (an IPv4 address or a prefix), if it is
// listed.
func (w *Weir) Find(ctx context.Context, source string) (Row, bool, error) {
	rows, err := w.List(ctx)
	for _, row := range rows {
		if row.Source == source {
			return row, true, nil
		}
	}
	return Row{}, false, err
}

// Status is the part of `weir status -o json` that the lab looks at.
type Status struct {
	Mode       string `json:"mode"`
	Version    string `json:"version"`
	PID        int    `json:"pid"`
	Interfaces []struct {
		Name   string `json:"name"`
		Mode   string `json:"mode"`
		Reason string `json:"reason"`
	} `json:"interfaces"`
	Counters []struct {
		Name    string `json:"name"`
		Packets uint64 `json:"packets"`
	} `json:"counters"`
	Intakes []struct {
		Lines         uint64 `json:"lines"`
		Events        uint64 `json:"events"`
		Lost          uint64 `json:"lost"`
		NotUnderstood uint64 `json:"not_understood"`
		Sample        string `json:"sample"`
		Error         string `json:"error"`
	} `json:"intakes"`
	Errors []struct {
		Text string `json:"text"`
	} `json:"errors"`
	Table struct {
		Used     int `json:"used"`
		Capacity int `json:"capacity"`
	} `json:"table"`
	ReadBack struct {
		Differences uint64 `json:"differences"`
		Repaired    uint64 `json:"repaired"`
		Difference  string `json:"difference"`
		Standing    string `json:"standing"`
	} `json:"read_back"`
}

// Counter returns the packets of a kernel counter by its name.
func (s *Status) Counter(name string) uint64 {
	for _, c := range s.Counters {
		if c.Name == name {
			return c.Packets
		}
	}
	return 0
}

// Status runs `weir status -o json`.
func (w *Weir) Status(ctx context.Context) (*Status, error) {
	out, err := w.Run(ctx, "status", "-o", "json")
	if err != nil {
		return nil, err
	}
	status := new(Status)
	if err := json.Unmarshal([]byte(out), status); err != nil {
		return nil, fmt.Errorf("read output of weir status: %w: %q", err, out)
	}
	return status, nil
}

// Reachable reports whether a client at from gets a connection to port.
func (l *Lab) Reachable(ctx context.Context, from netip.Addr, port uint16) bool {
	ctx, cancel := context.WithTimeout(ctx, 700*time.Millisecond)
	defer cancel()
	conn, err := l.Dial(ctx, from, port)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// SourceText writes the source that addr belongs to as weir writes it.
func SourceText(addr netip.Addr) string {
	if addr.Is4() {
		return addr.String()
	}
	return netip.PrefixFrom(addr, 64).Masked().String()
}

// ExitCode is the exit status in the error of a command, -1 without one.
func ExitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

// Root returns the folder of the module that the working directory is in.
func Root() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == "/" {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}
