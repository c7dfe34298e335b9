package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// contender is a program that reads logs.
type contender struct {
	name    string
	version string
	missing string // why it cannot run; else empty
	cores   int
	urgent  bool // before all else that wants its cores
	slow    bool // reads the sample only
	stdin   bool // reads from standard input

	args []string // the log's path is appended, unless it comes by stdin
	env  []string

	// told reads the failed logins from what it says, if it says any; after a
	// run of its own if tell is set.
	tell []string
	told func(stdout io.Reader) (refusals, error)

	runs          []usage
	found, beside int // of judge
}

// usage is what a process used.
type usage struct {
	wall, cpu time.Duration
	peak      int64 // bytes of memory
}

// command is the contender's process on its cores: the last ones, because
// the first serves most interrupts.
func (c *contender) command(ctx context.Context, args []string, l *log) (*exec.Cmd, error) {
	n := runtime.NumCPU()
	if c.cores > n {
		return nil, fmt.Errorf("%d cores wanted, there are %d", c.cores, n)
	}
	pinned := append([]string{"-c", fmt.Sprintf("%d-%d", n-c.cores, n-1)}, args...)
	if !c.stdin {
		pinned = append(pinned, l.path)
	}
	pinned = append([]string{"taskset"}, pinned...)
	if c.urgent {
		pinned = append([]string{"chrt", "-f", "10"}, pinned...)
	}
	cmd := exec.CommandContext(ctx, pinned[0], pinned[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "GOMAXPROCS="+strconv.Itoa(c.cores))
	cmd.Env = append(cmd.Env, c.env...)
	if c.stdin {
		f, err := os.Open(l.path)
		if err != nil {
			return nil, err
		}
		cmd.Stdin = f
	}
	return cmd, nil
}

// patience is how long a run may take.
const patience = 5 * time.Minute

// run measures one run. What the contender says goes to a file, as it would
// go to somebody.
func (c *contender) run(ctx context.Context, l *log) error {
	out, err := os.CreateTemp("", "weir-bench-out-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd, err := c.command(ctx, c.args, l)
	if err != nil {
		return err
	}
	cmd.Stdout = out
	u, err := measure(cmd)
	if err != nil {
		return err
	}
	c.runs = append(c.runs, u)
	return nil
}

// judge compares what the contender tells with the truth: how many failed
// logins of each source it has found, and what it counted beside them.
func (c *contender) judge(ctx context.Context, l *log) error {
	args := c.args
	if c.tell != nil {
		args = c.tell
	}
	cmd, err := c.command(ctx, args, l)
	if err != nil {
		return err
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	told, err := c.told(out)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, tail(errs.String()))
	}
	c.found, c.beside = compare(told, l.truth)
	return nil
}

func compare(told, truth refusals) (found, beside int) {
	for source, n := range told {
		found += min(n, truth[source])
		beside += max(n-truth[source], 0)
	}
	return found, beside
}

// median returns each figure's median.
func (c *contender) median() (u usage) {
	middle := func(of func(usage) int64) int64 {
		var list []int64
		for _, u := range c.runs {
			list = append(list, of(u))
		}
		slices.Sort(list)
		return list[len(list)/2]
	}
	u.wall = time.Duration(middle(func(u usage) int64 { return int64(u.wall) }))
	u.cpu = time.Duration(middle(func(u usage) int64 { return int64(u.cpu) }))
	u.peak = middle(func(u usage) int64 { return u.peak })
	return u
}

func tail(s string) string { return s[max(0, len(s)-500):] }
