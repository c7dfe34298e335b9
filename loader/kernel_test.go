package loader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// needKernel skips where programs cannot be loaded, and fails where they must
// be.
func needKernel(t testing.TB) {
	t.Helper()
	err := checkKernel()
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("cannot test against the kernel: %v", err)
	}
	t.Skipf("SKIPPED, NOT TESTED against the kernel: %v", err)
}

// steps is how many random steps a model takes. On an emulated machine a fifth of
// them have to do: there it is the other kernel that is tried, not the arithmetic.
func steps(n int) int {
	if os.Getenv("WEIR_GUEST") != "" {
		return n / 5
	}
	return n
}

// must returns v, or ends the test.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // reported by the testing package with its stack
	}
	return v
}

func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mountBPFFS returns a folder with a BPF file system of the test's own.
func mountBPFFS(t testing.TB) string {
	t.Helper()
	needKernel(t)
	dir := filepath.Join(t.TempDir(), "bpf")
	mustDo(t, os.Mkdir(dir, 0o700))
	mustDo(t, unix.Mount("bpf", dir, "bpf", 0, "mode=0700"))
	t.Cleanup(func() { mustDo(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// testOptions has pins of its own and room for little.
func testOptions(t testing.TB) Options {
	t.Helper()
	o := DefaultOptions()
	o.Dir = filepath.Join(mountBPFFS(t), "weir")
	o.Capacity = 1 << 10
	o.Logger = slog.New(slog.DiscardHandler)
	return o
}

func mustOpen(t testing.TB, o Options) *Datapath {
	t.Helper()
	d, err := Open(o)
	mustDo(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// simulation is a datapath whose clock stands until the test moves it.
type simulation struct {
	*Datapath
	t   testing.TB
	now uint64
}

// simulationStart is the wall time at which a simulation begins.
var simulationStart = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// bootOffset is the monotonic time then: not zero, as on a real machine.
const bootOffset = uint64(time.Hour)

func mustSimulate(t testing.TB, o Options) *simulation {
	t.Helper()
	s := &simulation{t: t, now: bootOffset}
	s.open(o)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// open is Open with what tests vary: the clocks, and the program's constants.
func open(o Options, clocks clocks, adjust func(*ebpf.CollectionSpec) error) (*Datapath, error) {
	l, err := load(o, clocks, adjust)
	if err != nil {
		return nil, err
	}
	return l.Open(o.Ports, o.Ceiling)
}

func (s *simulation) open(o Options) {
	s.t.Helper()
	d, err := open(o, s.clocks, func(spec *ebpf.CollectionSpec) error {
		return spec.Variables[datapathVarSimulatedTime].Set(true)
	})
	mustDo(s.t, err)
	s.Datapath = d
	s.advance(0)
}

func (s *simulation) clocks() (uint64, time.Time, error) { return s.now, s.wall(), nil }

func (s *simulation) wall() time.Time {
	return simulationStart.Add(time.Duration(s.now - bootOffset))
}

func (s *simulation) advance(by time.Duration) {
	s.t.Helper()
	s.now += uint64(by)
	mustDo(s.t, s.objects.SimulatedNow.Set(s.now))
}

// xdpDrop and xdpPass are the program's answers (enum xdp_action).
const (
	xdpDrop = 1
	xdpPass = 2
)

// run gives the program one frame and returns its answer.
func run(t testing.TB, d *Datapath, frame []byte) uint32 {
	t.Helper()
	verdict, err := d.objects.WeirXdp.Run(&ebpf.RunOptions{Data: frame})
	mustDo(t, err)
	return verdict
}

// exitOf gives the program one frame and returns its answer and the name of
// the counter that moved, which must be one, by one packet of that size.
func exitOf(t testing.TB, d *Datapath, frame []byte) (uint32, string) {
	t.Helper()
	before := must(d.Counters())
	verdict := run(t, d, frame)
	var exit string
	for i, c := range must(d.Counters()) {
		switch {
		case c == before[i]:
		case exit != "":
			t.Errorf("two counters moved: %s and %s", exit, c.Name)
		case c.Packets != before[i].Packets+1 || c.Bytes != before[i].Bytes+uint64(len(frame)):
			t.Errorf("counter %s moved by %d packets, %d bytes for a frame of %d", c.Name, c.Packets-before[i].Packets, c.Bytes-before[i].Bytes, len(frame))
		default:
			exit = c.Name
		}
	}
	return verdict, exit
}

func wantExit(t testing.TB, d *Datapath, frame []byte, verdict uint32, exit string) {
	t.Helper()
	gotVerdict, gotExit := exitOf(t, d, frame)
	if gotVerdict != verdict || gotExit != exit {
		t.Errorf("verdict %d (%s), want %d (%s)", gotVerdict, gotExit, verdict, exit)
	}
}

// eventually polls until the condition holds. What it waits for happens in
// the kernel, in its own time.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("did not happen in time: %s", what)
}

func TestUnprivileged(t *testing.T) {
	o := testOptions(t)
	var err error
	onOwnThread(t, func() {
		mustDo(t, setCapabilities(0))
		_, err = Open(o)
	})
	if !errors.Is(err, ErrPermission) {
		t.Errorf("Open without capabilities: %v, want ErrPermission", err)
	}
}

// The verifier answers EACCES too, and no capability would help.
func TestRefusedByVerifier(t *testing.T) {
	err := explain(fmt.Errorf("load: %w", &ebpf.VerifierError{Cause: unix.EACCES, Log: []string{"invalid access to packet"}}))
	if !errors.Is(err, ErrUnsupported) || errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), "invalid access") {
		t.Errorf("%v, want ErrUnsupported and the verifier's words", err)
	}
}

// The unit grants no more than these.
func TestFewCapabilities(t *testing.T) {
	o := testOptions(t)
	host, far := newNamespace(t), newNamespace(t)
	veth(t, host, "eth0", far, "far0")
	host.do(t, func() {
		mustDo(t, setCapabilities(1<<unix.CAP_BPF|1<<unix.CAP_PERFMON|1<<unix.CAP_NET_ADMIN))
		for range 2 { // afresh, then with pins
			d, err := Open(o)
			mustDo(t, err)
			mustDo(t, d.Put(Entry{Prefix: prefix("192.0.2.0/24"), Action: ActionDrop}))
			ctx, cancel := context.WithCancel(context.Background())
			mustDo(t, d.Follow(ctx, []string{"eth0"}, func(a []Attachment) {
				if a[0].Mode != ModeNative || a[0].Tarpit != haveTCX() {
					t.Errorf("attached: %+v", a)
				}
				cancel()
			}))
			_, err = DestroySockets([]netip.Prefix{prefix("192.0.2.0/24")}, o.Ports)
			mustDo(t, errors.Join(err, d.Close()))
		}
	})
}

func setCapabilities(caps uint64) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(caps), Permitted: uint32(caps)},
		{Effective: uint32(caps >> 32), Permitted: uint32(caps >> 32)},
	}
	return unix.Capset(&header, &data[0])
}
