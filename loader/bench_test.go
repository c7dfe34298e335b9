package loader

import (
	"math"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// BenchmarkVerdict measures the program itself on a warm cache: ns/packet is
// the kernel's own figure, the least of all rounds, as anything else that runs
// on the machine only adds to it. The other figures of the benchmark say
// nothing.
func BenchmarkVerdict(b *testing.B) {
	o := testOptions(b)
	o.Capacity = 1 << 17
	d := mustOpen(b, o)
	mustDo(b, d.Put(many(100_000)...))
	mustDo(b, d.Put(
		Entry{Prefix: prefix("198.51.100.1/32"), Action: ActionDrop},
		Entry{Prefix: prefix("2001:db8:1:2::/64"), Action: ActionDrop},
		Entry{Prefix: prefix("198.51.100.2/32"), Action: ActionLimit, Every: time.Hour, Burst: 1},
		Entry{Prefix: prefix("198.51.100.3/32"), Action: ActionAllow},
		Entry{Prefix: prefix("203.0.113.0/24"), Action: ActionDrop},
	))
	mustDo(b, d.Put(
		Entry{Prefix: prefix("198.51.100.4/32"), Action: ActionLimit, Bytes: 1 << 40},
		Entry{Prefix: prefix("198.51.100.5/32"), Action: ActionTarpit},
		Entry{Prefix: prefix("2001:db8:5::/64"), Action: ActionTarpit},
	))
	empty := must(ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "GPL", Name: "empty",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpDrop), asm.Return()},
	}))
	defer empty.Close()
	measure := func(b *testing.B, program *ebpf.Program, frame []byte) {
		const repeat = 1_000_000
		least := time.Duration(math.MaxInt64)
		for range b.N {
			_, took, err := program.Benchmark(frame, repeat, nil)
			mustDo(b, err)
			least = min(least, took)
		}
		b.ReportMetric(float64(least.Nanoseconds()), "ns/packet")
	}
	b.Run("empty_program", func(b *testing.B) { measure(b, empty, syn4("")) })
	for _, c := range []struct {
		name  string
		frame []byte
	}{
		{"not_ip", eth(etherARP, make([]byte, 46))},
		{"other_port", ip4{}.wrap(tcp{port: 443}.bytes())},
		{"other_port_ipv6", ip6{}.wrap(tcp{port: 443}.bytes())},
		{"drop", syn4("198.51.100.1")},
		{"drop_qinq", tagged(syn4("198.51.100.1"), etherQinQ, etherVLAN)},
		{"drop_ipv6", syn6("")},
		{"allow", syn4("198.51.100.3")},
		{"over_limit", syn4("198.51.100.2")},
		{"within_bytes", ip4{src: "198.51.100.4"}.wrap(tcp{flags: flagACK, payload: 1000}.bytes())},
		{"swallow", syn4("198.51.100.5")},
		{"drop_prefix", syn4("203.0.113.9")},
		{"pass_opening", syn4("198.51.100.9")},
		{"pass_data", data4("198.51.100.9")},
		{"pass_data_ipv6", data6("2001:db8:ffff::1")},
	} {
		b.Run(c.name, func(b *testing.B) { measure(b, d.objects.WeirXdp, c.frame) })
	}
	// With what is off until it is asked for.
	mustDo(b, d.SetCeiling(Ceiling{Every: 100 * time.Microsecond, Burst: 1 << 28, Ports: []uint16{25}}))
	b.Run("pass_opening_ceiling", func(b *testing.B) { measure(b, d.objects.WeirXdp, syn4("198.51.100.9")) })
	b.Run("pass_data_ceiling", func(b *testing.B) { measure(b, d.objects.WeirXdp, data4("198.51.100.9")) })
	mustDo(b, d.SetCeiling(Ceiling{}))
	mustDo(b, d.Put(Entry{Prefix: prefix("100.64.0.0/10"), Action: ActionTarpit}))
	b.Run("pass_data_tarpit_prefix", func(b *testing.B) { measure(b, d.objects.WeirXdp, data4("198.51.100.9")) })
	b.Run("pass_data_tarpit_prefix_ipv6", func(b *testing.B) { measure(b, d.objects.WeirXdp, data6("2001:db8:ffff::1")) })
}

// BenchmarkTable fills, reads and empties a table of a million sources.
func BenchmarkTable(b *testing.B) {
	const n = 1_000_000
	entries := many(n)
	o := testOptions(b)
	o.Capacity = n
	d := mustOpen(b, o)
	measure := func(b *testing.B, unit string, f func()) {
		begin := time.Now()
		f()
		b.ReportMetric(time.Since(begin).Seconds(), unit)
	}
	for range b.N {
		measure(b, "s/put", func() { mustDo(b, d.Put(entries...)) })
		measure(b, "s/count", func() { must(d.Fill()) })
		measure(b, "s/again", func() { mustDo(b, d.Put(entries...)) })
		measure(b, "s/read", func() {
			for _, err := range d.Entries() {
				mustDo(b, err)
			}
		})
		measure(b, "s/one", func() { mustDo(b, d.Put(Entry{Prefix: entries[0].Prefix, Action: ActionAllow})) })
		measure(b, "s/delete", func() {
			for e, err := range d.Entries() {
				mustDo(b, err)
				mustDo(b, d.Delete(e.Prefix))
			}
		})
		must(d.Fill()) // the next round begins with tables known to be empty
	}
}

// BenchmarkPut puts a million IPv4 sources into empty tables at once.
func BenchmarkPut(b *testing.B) {
	const n = 1_000_000
	entries := slices.DeleteFunc(many(2*n), func(e Entry) bool { return e.Prefix.Addr().Is6() })
	for b.Loop() {
		b.StopTimer()
		o := testOptions(b)
		o.Capacity = n
		d := mustOpen(b, o)
		debug.FreeOSMemory() // as of who puts for the first time
		b.StartTimer()
		mustDo(b, d.Put(entries...))
		b.StopTimer()
		mustDo(b, d.Remove())
		mustDo(b, d.Close())
		b.StartTimer()
	}
}
