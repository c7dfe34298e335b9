package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Command runs a program with the report as JSON on standard input and the
// first notice in the environment. No shell sees any of it.
type Command struct {
	Args    []string // program and arguments
	Timeout time.Duration
}

// Name implements Channel.
func (c *Command) Name() string { return "command " + c.Args[0] }

// Deliver implements Channel.
func (c *Command) Deliver(ctx context.Context, r *Report) error {
	input, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return run(ctx, c.Timeout, c.Args, environment(r), input)
}

// environment is what the program is given, beside a PATH. An attacker may have
// chosen the values.
func environment(r *Report) []string {
	first := &r.Notices[0]
	until := ""
	if first.Until != nil {
		until = first.Until.UTC().Format(time.RFC3339)
	}
	out := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	for _, v := range [][2]string{
		{"HOST", r.Host}, {"MODE", r.Mode}, {"NOTICES", strconv.Itoa(len(r.Notices) + r.Unnamed)},
		{"USER", first.User}, {"ACTION", first.Action}, {"RULE", first.Rule}, {"REASON", first.Reason},
		{"SINCE", first.Since.UTC().Format(time.RFC3339)}, {"UNTIL", until},
		{"SOURCES", strconv.Itoa(first.Stopped.Sources)}, {"ATTEMPTS", strconv.FormatUint(first.Stopped.Attempts, 10)},
		{"RELEASE", first.Release},
	} {
		out = append(out, "WEIR_"+v[0]+"="+strings.ReplaceAll(v[1], "\x00", ""))
	}
	return out
}

// run runs a program and all that it starts for so long at most.
func run(ctx context.Context, timeout time.Duration, args, env []string, input []byte) error {
	ctx, done := context.WithTimeout(ctx, timeout)
	defer done()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var said tail
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env, cmd.Dir = bytes.NewReader(input), &said, &said, env, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = fmt.Errorf("took longer than %s", timeout)
	case errors.Is(err, syscall.EPIPE): // it did not want to read all
		return nil
	}
	return fmt.Errorf("%s: %w: %s", args[0], err, bytes.TrimSpace(said.text))
}

// tail keeps the end of what a program says.
type tail struct{ text []byte }

const maxTail = 1024

func (t *tail) Write(b []byte) (int, error) {
	t.text = append(t.text, b...)
	if over := len(t.text) - maxTail; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(b), nil
}
