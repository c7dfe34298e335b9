package live

import (
	gocontext "context"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must returns v, or ends the test.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // reported by the testing package with its stack
	}
	return v
}

// mustLink skips where it cannot be made, and fails where it must be.
func mustLink(t *testing.T) *Link {
	t.Helper()
	l, err := NewLink()
	if errors.Is(err, unix.EPERM) && os.Getenv("CI") != "true" {
		t.Skipf("SKIPPED, NOT TESTED against the kernel: %v", err)
	}
	mustDo(t, err)
	t.Cleanup(func() { mustDo(t, l.Close()) })
	return l
}

// Each number is another source.
func TestSources(t *testing.T) {
	const n = 1 << 18
	seen := make(map[netip.Addr]uint32, 4*n)
	for i := range uint32(n) {
		for _, number := range []uint32{i, 1<<bits4 - 1 - i} {
			for _, source := range []netip.Addr{Source4(number), Source6(number)} {
				if other, ok := seen[source]; ok {
					t.Fatalf("numbers %d and %d are both %s", other, number, source)
				}
				seen[source] = number
			}
		}
	}
	for _, inside := range []struct {
		source netip.Addr
		net    string
	}{{Source4(7), "64.0.0.0/3"}, {Source6(7), "2000::/3"}} {
		if !netip.MustParsePrefix(inside.net).Contains(inside.source) {
			t.Errorf("%s is not in %s", inside.source, inside.net)
		}
	}
}

// The generator writes the frames that Frame tells of, from all sources of the
// traffic and no others.
func TestFrames(t *testing.T) {
	l := mustLink(t)
	for name, traffic := range map[string]Traffic{
		"IPv4":           {Port: 25, Opening: true, First: 100, Count: 8},
		"IPv4, one":      {Port: 25, Opening: true, First: 5, Count: 1},
		"IPv4, TCP too":  {Port: 25, Opening: true, First: 100, Count: 8, Checksum: true},
		"IPv4 elsewhere": {Port: 443, First: 1 << 28, Count: 8, Elsewhere: true},
		"IPv6":           {IPv6: true, Port: 25, Opening: true, First: 100, Count: 8},
	} {
		want := make(map[string]bool)
		for i := range traffic.Count {
			want[comparable6(traffic, l.Frame(traffic, traffic.First+i))] = true
		}
		got := make(map[string]bool)
		each(t, l, traffic, 400, func(frame []byte) {
			got[comparable6(traffic, frame)] = true
			if header := frame[etherLen:][:ip4Len]; !traffic.IPv6 && fold(sum(header)) != 0xffff {
				t.Fatalf("%s: wrong checksum: % x", name, header)
			}
		})
		for frame := range got {
			if !want[frame] {
				t.Errorf("%s: made % x", name, frame)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: made %d of %d frames", name, len(got), len(want))
		}
	}
}

// Spread sources stay inside their prefixes, and differ.
func TestSpread(t *testing.T) {
	l := mustLink(t)
	for _, traffic := range []Traffic{{Port: 25, Count: 1, Spread: 8}, {IPv6: true, Port: 25, Count: 1, Spread: 8}} {
		prefix, at, size := netip.PrefixFrom(Source4(0), 24), source4At, 4
		if traffic.IPv6 {
			prefix, at, size = netip.PrefixFrom(Source6(0), 56), source6At, 16
		}
		seen := make(map[netip.Addr]bool)
		each(t, l, traffic, 100, func(frame []byte) {
			source, _ := netip.AddrFromSlice(frame[at : at+size])
			if !prefix.Masked().Contains(source) {
				t.Fatalf("%s is not in %s", source, prefix)
			}
			seen[source] = true
		})
		if len(seen) < 20 {
			t.Errorf("%d sources in %s", len(seen), prefix)
		}
	}
}

// comparable6 is a frame without the lower half of an IPv6 source, which is
// any.
func comparable6(t Traffic, frame []byte) string {
	if t.IPv6 {
		clear(frame[source6At+8:][:8])
	}
	return string(frame)
}

// each makes frames that go nowhere.
func each(t *testing.T, l *Link, traffic Traffic, n int, see func(frame []byte)) {
	t.Helper()
	p, err := l.program(traffic, nil)
	mustDo(t, err)
	defer p.Close()
	for range n {
		o := &ebpf.RunOptions{Data: make([]byte, len(l.Frame(traffic, 0))), DataOut: make([]byte, 256)}
		verdict, err := p.Run(o)
		mustDo(t, err)
		if verdict != 4 { // XDP_REDIRECT
			t.Fatalf("verdict %d", verdict)
		}
		see(o.DataOut)
	}
}

// What is made arrives, and the host's end says what became of it.
func TestRun(t *testing.T) {
	l := mustLink(t)
	g, err := l.NewGenerator(Traffic{Port: 25, Opening: true, Count: 1000})
	mustDo(t, err)
	defer g.Close()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
	})
	mustDo(t, err)
	defer program.Close()
	detach, err := l.Attach(program)
	mustDo(t, err)
	defer detach()
	var before NIC
	frames, took, err := g.Run(10*time.Millisecond, func() (err error) {
		before, err = l.Statistics()
		return err
	})
	mustDo(t, err)
	after, err := l.Statistics()
	mustDo(t, err)
	arrived, dropped := after.Arrived-before.Arrived, after.Dropped-before.Dropped
	if dropped != arrived || arrived < frames*9/10 || took <= 0 {
		t.Errorf("%d frames in %s, %d arrived, %d dropped", frames, took, arrived, dropped)
	}
}

// A flood comes at the rate that was asked for, and tells what it made.
func TestFlood(t *testing.T) {
	l := mustLink(t)
	p := must(ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
	}))
	defer p.Close()
	detach := must(l.Attach(p))
	defer detach()
	for _, rate := range []float64{0, 20_000} {
		before := must(l.Statistics())
		ctx, stop := gocontext.WithTimeout(t.Context(), 100*time.Millisecond)
		began := time.Now()
		made := must(l.Flood(ctx, Traffic{Port: 25, Opening: true, Count: 100, Checksum: true}, rate))
		took := time.Since(began)
		stop()
		time.Sleep(10 * time.Millisecond)
		if got := must(l.Statistics()).Arrived - before.Arrived; made == 0 || got < made*9/10 || got > made*11/10+64 {
			t.Errorf("rate %.0f: made %d, %d arrived", rate, made, got)
		}
		if most := rate * took.Seconds() * 1.1; rate > 0 && float64(made) > most+10 {
			t.Errorf("rate %.0f: made %d in %s", rate, made, took)
		}
	}
}
