package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"weir/tests/mixlog"
)

// measure runs cmd to its end.
//
// Its memory is the high-water mark of its address space (VmHWM, proc(5)),
// looked at until it is gone. The ru_maxrss that wait4(2) reports would not
// do: across execve(2) it keeps what the parent had.
func measure(cmd *exec.Cmd) (usage, error) {
	var errs bytes.Buffer
	cmd.Stderr = &errs
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	stop, peak := make(chan struct{}), make(chan int64)
	go func() {
		every := time.NewTicker(2 * time.Millisecond)
		defer every.Stop()
		program, most := "", int64(0)
		for {
			if now, ok := executable(cmd.Process.Pid); ok {
				if now != program { // taskset has become the contender
					program, most = now, 0
				}
				most = max(most, highWater(cmd.Process.Pid))
			}
			select {
			case <-stop:
				peak <- most
				return
			case <-every.C:
			}
		}
	}()
	err := cmd.Wait()
	wall := time.Since(began)
	close(stop)
	u := usage{wall: wall, cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), peak: <-peak}
	if err != nil {
		return u, fmt.Errorf("%w: %s", err, tail(errs.String()))
	}
	return u, nil
}

func executable(pid int) (string, bool) {
	path, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	return path, err == nil
}

// highWater returns the most memory that a process has had, 0 if it is gone.
func highWater(pid int) int64 { return memory(pid, "VmHWM:") }

// resident returns the memory that a process has, 0 if it is gone.
func resident(pid int) int64 { return memory(pid, "VmRSS:") }

// memory returns what proc(5) says, in bytes.
func memory(pid int, key string) int64 {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// replayMemory measures weir on a log that is never written: it comes through
// a pipe.
func replayMemory(ctx context.Context, o options, lines uint64) (int64, error) {
	options := mixlog.DefaultOptions()
	options.Lines = lines
	g, err := mixlog.New(options)
	if err != nil {
		return 0, err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	written := make(chan error, 1)
	go func() {
		defer out.Close()
		buffer := make([]byte, 0, 1<<18)
		for g.Next() {
			if buffer = append(append(buffer, g.Record().Line...), '\n'); len(buffer) > 1<<17 {
				if _, err := out.Write(buffer); err != nil {
					written <- err
					return
				}
				buffer = buffer[:0]
			}
		}
		_, err := out.Write(buffer)
		written <- err
	}()
	cmd := exec.CommandContext(ctx, absolute(o.weir), "replay", "--config", os.DevNull, "--output", "none", "-")
	cmd.Stdin = in
	u, err := measure(cmd)
	in.Close()
	if failed := <-written; err == nil {
		err = failed
	}
	return u.peak, err
}
