package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/policy"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func mustOpen(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path, quiet, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustCommit(t testing.TB, s *Store, b Batch) {
	t.Helper()
	if err := s.Commit(b); err != nil {
		t.Fatal(err)
	}
}

func mustDecisions(t testing.TB, s *Store) map[Key]policy.Decision {
	t.Helper()
	all := map[Key]policy.Decision{}
	err := s.records(func(dec *decoder, _ []byte, d *policy.Decision) (more bool, err error) {
		d.Evidence.Sample, err = dec.rest()
		all[KeyOf(d)] = *d
		return true, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// given is a Restorer that remembers.
type given struct {
	decisions map[Key]policy.Decision
	expected  int
	anew      int
}

func (g *given) Expect(n int) { g.expected = n }

func (g *given) Decision(d *policy.Decision) { g.decisions[KeyOf(d)] = *d }

func (g *given) Anew() { clear(g.decisions); g.anew++ }

// mustBeGiven holds what Open gave to what the store has.
func mustBeGiven(t testing.TB, name string, g *given, all map[Key]policy.Decision) {
	t.Helper()
	if len(g.decisions) != len(all) {
		t.Errorf("%s: %d decisions were given, and %d are there", name, len(g.decisions), len(all))
	}
	for key, d := range all {
		if d.Evidence.Sample = nil; !reflect.DeepEqual(g.decisions[key], d) {
			t.Errorf("%s: given %+v, there is %+v", name, g.decisions[key], d)
			return
		}
	}
}

var epoch = time.Date(2026, 11, 22, 8, 0, 0, 123456000, time.UTC)

// source returns the n-th of a sequence of IPv4 and IPv6 sources.
func source(n int) netip.Prefix {
	if n%4 == 3 {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(n >> 16), byte(n >> 8), byte(n)}), 64)
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32)
}

func automatic(n int) policy.Decision {
	d := policy.Decision{
		Target: policy.Target{Prefix: source(n)}, Action: policy.Limit,
		Rate:  policy.Rate{Every: 10 * time.Second, Burst: 3},
		Since: epoch.Add(time.Duration(n) * time.Second), Until: epoch.Add(time.Hour),
		Rule: "failures", Reason: fmt.Sprintf("%d failures", n), Offence: 2,
		Evidence: policy.Evidence{Count: 5, FirstLine: 7, LastLine: uint64(n)},
	}
	for i := range n % 3 {
		d.Evidence.Sample = append(d.Evidence.Sample, policy.Observation{
			Time: epoch, Kind: policy.AuthFailure, Source: source(n).Addr(), User: "anna@example.org",
			Service: "submission", Server: "postfix", Recipients: i, Line: uint64(i),
			Text: "warning: unknown[10.0.0.1]: SASL LOGIN authentication failed",
		})
	}
	return d
}

func pin(n int) policy.Decision {
	return policy.Decision{
		Target: policy.Target{Prefix: source(n)}, Action: policy.Drop, Since: epoch,
		Reason: "imported", Pinned: true, By: "root",
	}
}

func pins(from, to int) []policy.Decision {
	out := make([]policy.Decision, 0, to-from)
	for n := from; n < to; n++ {
		out = append(out, pin(n))
	}
	return out
}

func TestDecisionsComeBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	s := mustOpen(t, path)
	want := map[Key]policy.Decision{}
	var put []policy.Decision
	for n := range 20 {
		put = append(put, automatic(n), pin(n))
	}
	put = append(put, policy.Decision{
		Target: policy.Target{User: "anna@example.org"}, Action: policy.Guard, Since: epoch, Until: epoch.Add(time.Minute),
	}, policy.Decision{
		Target: policy.Target{Prefix: netip.MustParsePrefix("198.51.100.0/24")}, Action: policy.Limit, Rate: policy.Rate{Bytes: 64 << 10}, Pinned: true,
	}, policy.Decision{
		Target: policy.Target{User: "news@example.org"}, Action: policy.OwnQuota, Pinned: true, Since: epoch,
		Quota: &policy.Quota{Recipients: []policy.QuotaSpan{{Count: 300, Within: time.Hour, Burst: 20}, {Count: 1000, Within: 24 * time.Hour}}, Messages: []policy.QuotaSpan{}},
	}, policy.Decision{
		Target: policy.Target{User: "list@example.org"}, Action: policy.OwnQuota, Pinned: true, Since: epoch,
		Quota: &policy.Quota{Messages: []policy.QuotaSpan{{Count: 5, Within: time.Minute}}},
	}, policy.Decision{
		Target: policy.Target{Prefix: netip.MustParsePrefix("2001:db8::/32")}, Action: policy.Allow, Pinned: true,
	})
	for _, d := range put {
		want[KeyOf(&d)] = d
	}
	mustCommit(t, s, Batch{Put: put})
	gone := Key{Target: policy.Target{Prefix: source(3)}, Pinned: true}
	mustCommit(t, s, Batch{Remove: []Key{gone, {Target: policy.Target{User: "nobody"}}}})
	delete(want, gone)
	again := automatic(4)
	again.Offence = 9
	want[KeyOf(&again)] = again
	mustCommit(t, s, Batch{Put: []policy.Decision{again}})

	for range 2 {
		if got := mustDecisions(t, s); !reflect.DeepEqual(got, want) {
			t.Errorf("got %d decisions, want %d, or they differ:\n%v\n%v", len(got), len(want), got, want)
		}
		s.Close()
		s = mustOpen(t, path)
		if s.Salvaged() != nil {
			t.Fatalf("a whole file was salvaged: %+v", s.Salvaged())
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

func TestCheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	s := mustOpen(t, path)
	if b, err := s.Checkpoint(); b != nil || err != nil {
		t.Fatalf("new store: %v, %v", b, err)
	}
	for _, size := range []int{10, 3*chunkSize + 1, chunkSize, 5} {
		want := bytes.Repeat([]byte{byte(size)}, size)
		mustCommit(t, s, Batch{Checkpoint: [][]byte{want[:size/3], nil, want[size/3:], {}}})
		mustCommit(t, s, Batch{Put: pins(0, 1)}) // keeps it
		s.Close()
		s = mustOpen(t, path)
		if got, err := s.Checkpoint(); err != nil || !bytes.Equal(got, want) || s.Salvaged() != nil {
			t.Errorf("%d bytes written, %d read, %v, %v", size, len(got), err, s.Salvaged())
		}
	}
}

func TestCommitRefuses(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "weir.db"))
	for _, bad := range []policy.Decision{
		{Action: policy.Drop},
		{Target: policy.Target{User: "x"}},
		{Target: policy.Target{User: strings.Repeat("x", maxUser+1)}, Action: policy.Defer},
		{Target: policy.Target{User: "x", Prefix: source(1)}, Action: policy.Drop},
	} {
		if err := s.Commit(Batch{Put: []policy.Decision{pin(1), bad}}); err == nil {
			t.Errorf("%.60v was accepted", bad)
		}
	}
	if n := len(mustDecisions(t, s)); n != 0 {
		t.Errorf("%d decisions of refused batches were written", n)
	}
	mustCommit(t, s, Batch{Put: pins(0, 1)})
}

// TestOpenGives holds what Open gives of a whole store, and what Sample and
// Naming give afterwards, to what was put.
func TestOpenGives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	s := mustOpen(t, path)
	put := pins(0, 300)
	for n := range 200 {
		put = append(put, automatic(n))
	}
	put[len(put)-1].Evidence.Sample[0].User = "berta@example.org"
	put[len(put)-1].Evidence.Sample[0].Text = "anna@example.org is named, and is not the user"
	put[len(put)-1].Evidence.Sample = put[len(put)-1].Evidence.Sample[:1]
	mustCommit(t, s, Batch{Put: put})
	want := mustDecisions(t, s)
	s.Close()
	g := &given{decisions: map[Key]policy.Decision{}}
	s, err := Open(path, quiet, g)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mustBeGiven(t, "whole", g, want)
	if g.expected != len(want) {
		t.Errorf("%d decisions were told of, and %d are there", g.expected, len(want))
	}
	named := 0
	for _, d := range put {
		since, sample, err := s.Sample(KeyOf(&d))
		if err != nil || !since.Equal(d.Since) || !reflect.DeepEqual(sample, d.Evidence.Sample) {
			t.Fatalf("sample of %v: since %v %+v, %v; want %+v", KeyOf(&d), since, sample, err, d.Evidence.Sample)
		}
		if d.Evidence.Names("anna@example.org") {
			named++
		}
	}
	for d, err := range s.Naming("anna@example.org") {
		if named--; err != nil || !reflect.DeepEqual(d, want[KeyOf(&d)]) {
			t.Fatalf("naming: %+v, %v", d, err)
		}
	}
	if since, sample, err := s.Sample(Key{Target: policy.Target{User: "nobody"}}); named != 0 || !since.IsZero() || sample != nil || err != nil {
		t.Errorf("%d more are named; nobody: %v %v %v", named, since, sample, err)
	}
}

func TestLoopBodyPanicIsItsOwn(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "weir.db"))
	mustCommit(t, s, Batch{Put: pins(0, 1)})
	func() {
		defer func() {
			if recover() != "mine" {
				t.Error("the loop body's panic did not come through")
			}
		}()
		for range s.Decisions() {
			panic("mine")
		}
	}()
	mustCommit(t, s, Batch{Put: pins(1, 2)}) // and the store still works
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "weir.db")
	s := mustOpen(t, path)
	if _, err := Open(path, quiet, nil); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "second agent") {
		t.Errorf("open twice: %v", err)
	}
	s.Close()
	mustOpen(t, path).Close()
	if _, err := Open(filepath.Join(dir, "no", "weir.db"), quiet, nil); err == nil || !strings.Contains(err.Error(), "state_dir") {
		t.Errorf("missing folder: %v", err)
	}
	if _, err := Open(dir, quiet, nil); err == nil {
		t.Error("a folder was opened")
	}
}

// smallDisk mounts a file system of so many bytes (tmpfs(5)) and returns where.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system takes root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("weir", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount tmpfs: %v", err)
		}
		t.Skipf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	return dir
}

func TestDiskFull(t *testing.T) {
	dir := smallDisk(t, "256k")
	path := filepath.Join(dir, "weir.db")
	s := mustOpen(t, path)
	mustCommit(t, s, Batch{Put: pins(0, 10)})
	err := s.Commit(Batch{Put: pins(0, 10_000)})
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free some space") {
		t.Fatalf("full disk: %v", err)
	}
	if n := len(mustDecisions(t, s)); n != 10 {
		t.Errorf("%d decisions after the failure, want the 10 before it", n)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, Batch{Put: pins(0, 10_000)})
	s.Close()
	s = mustOpen(t, path)
	if n := len(mustDecisions(t, s)); n != 10_000 || s.Salvaged() != nil {
		t.Errorf("%d decisions after space was freed, want 10000; %+v", n, s.Salvaged())
	}
	s.Close()
}

// count is a Restorer that counts.
type count int

func (c *count) Expect(int)                {}
func (c *count) Decision(*policy.Decision) { *c++ }
func (c *count) Anew()                     { *c = 0 }

func BenchmarkMillionPins(b *testing.B) {
	const n = 1_000_000
	all := pins(0, n)
	path := filepath.Join(b.TempDir(), "weir.db")
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			os.Remove(path)
			s := mustOpen(b, path)
			mustCommit(b, s, Batch{Put: all})
			s.Close()
		}
	})
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			g := new(count)
			s, err := Open(path, quiet, g)
			if err != nil || int(*g) != n {
				b.Fatal(err, *g)
			}
			s.Close()
		}
	})
	b.Run("load", func(b *testing.B) {
		s := mustOpen(b, path)
		defer s.Close()
		for b.Loop() {
			got := 0
			for _, err := range s.Decisions() {
				if err != nil {
					b.Fatal(err)
				}
				got++
			}
			if got != n {
				b.Fatalf("%d of %d", got, n)
			}
		}
	})
	if info, err := os.Stat(path); err == nil {
		b.Logf("%d bytes in the file", info.Size())
	}
}
