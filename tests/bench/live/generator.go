package live

import (
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const (
	// mostFrames is how many frames one system call makes at most, fewest at
	// least, and quickest how fast it makes them at best.
	mostFrames = 1 << 18
	fewest     = 1 << 12
	quickest   = 100 * time.Nanosecond
	// batch is how many come before the other end gets them: fewer than its
	// queue takes (VETH_RING_SIZE, 256).
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
	p, err := l.program(t, nil)
	if err != nil {
		return nil, err
	}
	return &Generator{link: l, program: p, template: l.Frame(t, 0)}, nil
}

// Close unloads it.
func (g *Generator) Close() error { return g.program.Close() }

// Run makes traffic on the last core, for about a duration. It calls ready
// once the traffic has flown for a moment, and returns the frames made since
// then, and the time that took: the kernel's own figure, in which what the
// core did for others between two batches has no part.
func (g *Generator) Run(d time.Duration, ready func() error) (frames uint64, took time.Duration, err error) {
	err = g.link.world.Do(func() error {
		var core unix.CPUSet
		core.Set(runtime.NumCPU() - 1)
		if err := unix.SchedSetaffinity(0, &core); err != nil {
			return fmt.Errorf("keep generator on a core: %w", err)
		}
		if err := blockSignals(); err != nil { // they would end a burst early
			return err
		}
		if _, _, err := g.until(min(warmUp, d)); err != nil {
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
	n := uint32(min(max(d/quickest, fewest), mostFrames))
	for took < d {
		each, err := g.burst(n)
		if err != nil {
			return frames, took, err
		}
		frames += uint64(n)
		took += time.Duration(each * float64(n))
	}
	return frames, took, nil
}

// testRun is what BPF_PROG_TEST_RUN takes (union bpf_attr in linux/bpf.h).
type testRun struct {
	program            uint32
	_                  uint32 // verdict
	dataIn, _          uint32 // sizes, of what goes in and comes out
	data               unsafe.Pointer
	_                  uint64
	repeat, duration   uint32
	contextIn, _       uint32
	context            unsafe.Pointer
	_                  uint64
	flags, _, batch, _ uint32
}

// context is struct xdp_md.
type context struct{ data, dataEnd, dataMeta, ingress, queue, egress uint32 }

// burst makes n frames and returns how many nanoseconds each has taken. The
// frames come in by the world's end, since the redirect needs to know whose
// interfaces are meant. The system call is made by hand because the library
// does not say how long it took.
func (g *Generator) burst(n uint32) (each float64, err error) {
	size := uint32(len(g.template))
	md := context{dataEnd: size, ingress: uint32(g.link.worldEnd)}
	attr := testRun{
		program: uint32(g.program.FD()),
		data:    unsafe.Pointer(&g.template[0]), dataIn: size,
		context: unsafe.Pointer(&md), contextIn: uint32(unsafe.Sizeof(md)),
		repeat: n, flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES, batch: batch,
	}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_TEST_RUN, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return 0, fmt.Errorf("run generator: %w", errno)
	}
	return float64(attr.duration) + 0.5, nil // it has been rounded down
}

// blockSignals keeps signals away from this thread.
func blockSignals() error {
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	return unix.PthreadSigmask(unix.SIG_BLOCK, &all, nil)
}
