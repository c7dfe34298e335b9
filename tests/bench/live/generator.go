package live

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const (
	// burst is how many frames one system call makes, some 50 ms of them.
	burst = 1 << 16
	// batch is how many come before the other end gets them: fewer than its
	// queue takes (VETH_RING_SIZE, 256), more than what a NIC usually gives.
	batch = 64
	// warmUp is how long traffic flows before a run counts.
	warmUp = 50 * time.Millisecond
)

// Generator makes one kind of traffic.
type Generator struct {
	link     *Link
	program  *ebpf.Program
	template []byte
}

// NewGenerator loads a generator. The traffic begins with Run.
func (l *Link) NewGenerator(t Traffic) (*Generator, error) {
	p, err := l.program(t)
	if err != nil {
		return nil, err
	}
	return &Generator{link: l, program: p, template: l.Frame(t, 0)}, nil
}

// Close unloads it.
func (g *Generator) Close() error { return g.program.Close() }

// Run makes traffic on the last core, for about a duration. It calls ready
// once the traffic has flown for a moment, and returns the frames made since
// then, and the time that took. Time in which the core worked for others
// instead is not part of that.
func (g *Generator) Run(d time.Duration, ready func() error) (frames uint64, took time.Duration, err error) {
	err = g.link.world.Do(func() error {
		var cores unix.CPUSet
		cores.Set(runtime.NumCPU() - 1)
		if err := unix.SchedSetaffinity(0, &cores); err != nil {
			return fmt.Errorf("keep generator on a core: %w", err)
		}
		if _, _, err := g.until(warmUp); err != nil {
			return err
		}
		if err := ready(); err != nil {
			return err
		}
		frames, took, err = g.until(d)
		return err
	})
	return frames, took, err
}

func (g *Generator) until(d time.Duration) (frames uint64, took time.Duration, err error) {
	waited, err := waitedForCore()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	for time.Since(began) < d {
		if err := g.burst(burst); err != nil {
			return frames, took, err
		}
		frames += burst
	}
	took = time.Since(began)
	now, err := waitedForCore()
	return frames, took - (now - waited), err
}

// burst makes n frames. They come in by the world's end, as the redirect
// needs to know whose interfaces are meant.
func (g *Generator) burst(n uint32) error {
	context := make([]byte, 6*4) // struct xdp_md
	binary.NativeEndian.PutUint32(context[4:], uint32(len(g.template)))
	binary.NativeEndian.PutUint32(context[12:], uint32(g.link.worldEnd))
	_, err := g.program.Run(&ebpf.RunOptions{
		Data: g.template, Context: context, Repeat: n,
		Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES, BatchSize: batch,
	})
	if err != nil {
		return fmt.Errorf("run generator: %w", err)
	}
	return nil
}

// waitedForCore is how long this thread could have run and had no core: the
// second figure of schedstat (Documentation/scheduler/sched-stats.rst).
func waitedForCore() (time.Duration, error) {
	text, err := os.ReadFile("/proc/thread-self/schedstat")
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil // a kernel without: time is what the clock says
	}
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("schedstat is %q", text)
	}
	ns, err := strconv.ParseInt(fields[1], 10, 64)
	return time.Duration(ns), err
}
