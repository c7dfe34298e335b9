package agent

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/policy"
	"weir/userspace/control"
	"weir/userspace/store"
)

func TestLiveGivesWhatReplayGives(t *testing.T) {
	b := newBench(t)
	text := mustRead(t, "testdata/mail.log")
	a := b.mustStart()
	random := rand.New(rand.NewPCG(3, 4))
	for rest := text; rest != ""; {
		n := min(1+random.IntN(3000), len(rest)) // ends within lines too
		mustAppend(t, b.log, rest[:n])
		rest = rest[n:]
	}
	mustReach(t, a, lineCount(text))
	mustStop(t, a)
	if want := b.replayed(text); !slices.Equal(b.decided, want) {
		t.Errorf("live:\n%s\nreplay:\n%s", strings.Join(b.decided, "\n"), strings.Join(want, "\n"))
	}
}

// standing is what stands, with its evidence but for the texts, which are
// kept in memory only.
func standing(t *testing.T, a *Agent) []string {
	t.Helper()
	var out []string
	if err := a.core.do(t.Context(), func() {
		for d := range a.core.ledger.All() {
			out = append(out, describe(d))
		}
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func mustCheckpoint(t *testing.T, a *Agent) {
	t.Helper()
	var written <-chan error
	if err := a.core.do(t.Context(), func() {
		a.core.checkpoint()
		written = a.core.written()
	}); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
}

// TestKilledAnywhere kills the agent after a random record, with a checkpoint
// from some time before, and expects of those that follow what one that ran
// through would have come to.
func TestKilledAnywhere(t *testing.T) {
	text := mustRead(t, "testdata/mail.log")
	lines := slices.Collect(strings.Lines(text))
	whole := newBench(t)
	through := whole.mustStart()
	mustAppend(t, whole.log, text)
	mustReach(t, through, len(lines))
	want := standing(t, through)
	if len(want) < 10 {
		t.Fatalf("only %d decisions stand in the end", len(want))
	}

	random := rand.New(rand.NewPCG(5, 6))
	for round := range 8 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			b := newBench(t)
			done := 0
			for done < len(lines) {
				a := b.mustStart()
				checkpoint := min(done+random.IntN(60), len(lines))
				death := min(checkpoint+random.IntN(60), len(lines))
				mustAppend(t, b.log, strings.Join(lines[done:checkpoint], ""))
				mustReach(t, a, checkpoint)
				mustCheckpoint(t, a)
				mustAppend(t, b.log, strings.Join(lines[checkpoint:death], ""))
				mustReach(t, a, death)
				if random.IntN(2) == 0 {
					if err := a.change(t.Context(), func(*core) error { return nil }); err != nil {
						t.Fatal(err) // decisions are stored, their checkpoint is not
					}
				}
				kill(a)
				done = death
			}
			a := b.mustStart()
			mustReach(t, a, len(lines))
			if got := standing(t, a); !slices.Equal(got, want) {
				t.Errorf("after the kills:\n%s\nwithout:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

var sprayer = policy.Target{Prefix: netip.MustParsePrefix("2001:db8:77:1::/64")}

func mustFind(t *testing.T, a *Agent, target policy.Target, pinned bool) *control.Row {
	t.Helper()
	for _, row := range mustRows(t, a, control.Filter{Pinned: &pinned}) {
		if row.Target() == target.String() {
			return &row
		}
	}
	return nil
}

func TestReleasedDoesNotComeBack(t *testing.T) {
	b := newBench(t)
	text := mustRead(t, "testdata/mail.log")
	a := b.mustStart()
	mustAppend(t, b.log, text)
	mustReach(t, a, lineCount(text))
	if mustFind(t, a, sprayer, false) == nil {
		t.Fatal("the source is not flagged in the first place")
	}
	result, err := a.Release(t.Context(), sprayer)
	if err != nil || len(result.Released) != 1 || result.Released[0].Rule != "guessing" {
		t.Fatalf("release: %+v, %v", result, err)
	}
	if _, err := a.Release(t.Context(), sprayer); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("released again: %v", err)
	}
	kill(a)
	a = b.mustStart()
	mustAppend(t, b.log, "one more line\n")
	mustReach(t, a, lineCount(text)+1)
	if row := mustFind(t, a, sprayer, false); row != nil {
		t.Errorf("came back: %+v", row)
	}
}

func pinOf(prefix string) policy.Decision {
	return policy.Decision{
		Target: policy.Target{Prefix: netip.MustParsePrefix(prefix)}, Action: policy.Drop,
		Since: logEnd, Reason: "seen elsewhere", Pinned: true, By: "anna",
	}
}

func TestPinsAreDurableWhenAcknowledged(t *testing.T) {
	b := newBench(t)
	a := b.mustStart()
	pins := []policy.Decision{pinOf("192.0.2.1/32"), pinOf("192.0.2.2/32"), pinOf("2001:db8::/32")}
	if err := a.Pin(t.Context(), pins); err != nil {
		t.Fatal(err)
	}
	kill(a)
	a = b.mustStart()
	for _, p := range pins {
		row := mustFind(t, a, p.Target, true)
		if row == nil || row.Reason != p.Reason || !row.Since.Equal(p.Since) {
			t.Errorf("%v after the kill: %+v", p.Target, row)
		}
	}
	nobody := policy.Target{Prefix: netip.MustParsePrefix("192.0.2.77/32")}
	missing, err := a.Unpin(t.Context(), []policy.Target{pins[0].Target, nobody})
	if err != nil || !slices.Equal(missing, []policy.Target{nobody}) {
		t.Errorf("unpin: missing %v, %v", missing, err)
	}
	kill(a)
	a = b.mustStart()
	if got := len(mustRows(t, a, control.Filter{})); got != 2 {
		t.Errorf("%d pins stand, want 2", got)
	}
}

func TestDecisionsEnd(t *testing.T) {
	b := newBench(t)
	text := mustRead(t, "testdata/mail.log")
	a := b.mustStart()
	mustAppend(t, b.log, text)
	mustReach(t, a, lineCount(text))
	if len(mustRows(t, a, control.Filter{})) == 0 {
		t.Fatal("nothing stands")
	}
	b.setClock(logEnd.Add(48 * time.Hour))
	if err := a.core.do(t.Context(), a.core.tick); err != nil {
		t.Fatal(err)
	}
	if rows := mustRows(t, a, control.Filter{}); len(rows) != 0 {
		t.Errorf("two days later: %+v", rows)
	}
	mustStop(t, a)
	s, err := store.Open(filepath.Join(b.dir, "state", "weir.db"), a.log, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for d := range s.Decisions() {
		t.Errorf("still stored: %v", d)
	}
}

func TestFutureStampsDoNotMoveTime(t *testing.T) {
	b := newBench(t)
	a := b.mustStart()
	text := mustRead(t, "testdata/mail.log")
	first := strings.Join(slices.Collect(strings.Lines(text))[:60], "")
	future := strings.ReplaceAll(first, "2026-11-20", "2031-11-20")
	mustAppend(t, b.log, future)
	mustReach(t, a, lineCount(future))
	for _, d := range b.decided {
		if strings.Contains(d, "2031") {
			t.Errorf("a record from the future was believed: %s", d)
		}
	}
	if len(b.decided) == 0 {
		t.Error("nothing was decided")
	}
}

func TestEvidenceHasItsText(t *testing.T) {
	b := newBench(t)
	text := mustRead(t, "testdata/mail.log")
	a := b.mustStart()
	mustAppend(t, b.log, text)
	mustReach(t, a, lineCount(text))
	e, err := a.Explain(t.Context(), sprayer)
	if err != nil {
		t.Fatal(err)
	}
	if e.Verdict != "drop" || len(e.Decisions) != 1 || e.Decisions[0].Evidence == nil || len(e.Decisions[0].Evidence.Sample) != 4 {
		t.Fatalf("%+v", e)
	}
	lines := strings.Split(text, "\n")
	for _, o := range e.Decisions[0].Evidence.Sample {
		if o.Text != lines[o.Line-1] {
			t.Errorf("line %d is told as %q", o.Line, o.Text)
		}
	}
	mustStop(t, a)
	a = b.mustStart()
	again, err := a.Explain(t.Context(), sprayer)
	if err != nil || !reflect.DeepEqual(again, e) {
		t.Errorf("after a restart: %+v, %v; before: %+v", again, err, e)
	}
}

func TestExplain(t *testing.T) {
	b := newBench(t)
	text := mustRead(t, "testdata/mail.log")
	a := b.mustStart()
	mustAppend(t, b.log, text)
	mustReach(t, a, lineCount(text))

	user, err := a.Explain(t.Context(), policy.Target{User: "stolen@example.org"})
	if err != nil || user.Verdict != "guard" || len(user.Decisions) != 13 || user.Decisions[0].User != "stolen@example.org" {
		t.Errorf("user: %+v, %v", user, err)
	}
	// Whoever asks why info cannot log in must be told of the source that failed.
	guessed, err := a.Explain(t.Context(), policy.Target{User: "info@example.org"})
	if err != nil || guessed.Verdict != "pass" || len(guessed.Decisions) != 1 || guessed.Decisions[0].Source != "203.0.113.9" {
		t.Errorf("a user in whose name logins failed: %+v, %v", guessed, err)
	}
	if err := a.Pin(t.Context(), []policy.Decision{pinOf("203.0.112.0/23")}); err != nil {
		t.Fatal(err)
	}
	inside, err := a.Explain(t.Context(), policy.Target{Prefix: netip.MustParsePrefix("203.0.113.250/32")})
	if err != nil || inside.Verdict != "drop" || !strings.Contains(inside.Why, "pin") || len(inside.Decisions) != 1 || !inside.Decisions[0].Wins {
		t.Errorf("inside a pinned prefix: %+v, %v", inside, err)
	}
	allowed, err := a.Explain(t.Context(), policy.Target{Prefix: netip.MustParsePrefix("198.51.100.7/32")})
	if err != nil || allowed.Verdict != "allow" || !slices.Equal(allowed.Allow, []control.Allow{{Prefix: "198.51.100.0/28", Reason: policy.ConfiguredReason}}) {
		t.Errorf("allowed: %+v, %v", allowed, err)
	}
	if len(allowed.Decisions) != 0 && allowed.Decisions[0].OverriddenBy == "" {
		t.Errorf("an allowed source's decision is not said to be overridden: %+v", allowed.Decisions)
	}
	for _, target := range []policy.Target{{User: "nobody"}, {Prefix: netip.MustParsePrefix("8.8.8.8/32")}} {
		if _, err := a.Explain(t.Context(), target); !errors.Is(err, control.ErrNotFound) {
			t.Errorf("%v: %v", target, err)
		}
	}
}

func TestListOrder(t *testing.T) {
	b := newBench(t)
	text := mustRead(t, "testdata/mail.log")
	a := b.mustStart()
	mustAppend(t, b.log, text)
	mustReach(t, a, lineCount(text))
	var pins []policy.Decision
	for n := range 2000 {
		pins = append(pins, pinOf(fmt.Sprintf("10.0.%d.%d/32", n/200, n%200)))
	}
	if err := a.Pin(t.Context(), pins); err != nil {
		t.Fatal(err)
	}
	rows := mustRows(t, a, control.Filter{})
	if rows[0].User != "stolen@example.org" || len(rows) < 2010 {
		t.Fatalf("%d rows, the first %+v", len(rows), rows[0])
	}
	for i := 2; i < len(rows); i++ {
		if mustSource(t, rows[i-1]).Compare(mustSource(t, rows[i])) > 0 {
			t.Fatalf("%s stands before %s", rows[i-1].Source, rows[i].Source)
		}
	}
	for range a.Decisions(t.Context(), control.Filter{}) {
		break // a client that stops in the middle
	}
	if n := len(mustRows(t, a, control.Filter{Prefix: netip.MustParsePrefix("10.0.3.0/24")})); n != 200 {
		t.Errorf("%d rows inside the prefix, want 200", n)
	}
}

func mustSource(t *testing.T, r control.Row) netip.Prefix {
	t.Helper()
	if addr, err := netip.ParseAddr(r.Source); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen())
	}
	p, err := netip.ParsePrefix(r.Source)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestStatus(t *testing.T) {
	b := newBench(t)
	text := mustRead(t, "testdata/mail.log")
	a := b.mustStart()
	mustAppend(t, b.log, text)
	mustReach(t, a, lineCount(text))
	if err := a.Pin(t.Context(), []policy.Decision{pinOf("203.0.113.100/32")}); err != nil {
		t.Fatal(err)
	}
	mustCheckpoint(t, a)
	s, err := a.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows := mustRows(t, a, control.Filter{})
	suspended := 0
	for _, r := range rows {
		if r.OverriddenBy != "" {
			suspended++
		}
	}
	if d := s.Decisions; d.Total != len(rows) || d.Pinned != 1 || d.Users != 1 || d.Suspended != suspended || suspended != 2 {
		t.Errorf("%+v; %d rows, %d suspended", d, len(rows), suspended)
	}
	if len(s.Intakes) != 1 || s.Intakes[0].Lines != uint64(lineCount(text)) || s.Intakes[0].Events == 0 {
		t.Errorf("%+v", s.Intakes)
	}
	if s.Mode != "observe" || s.Store.Checkpoint == nil || s.Store.Bytes == 0 || s.Store.Error != "" || s.PID != os.Getpid() {
		t.Errorf("%+v", s)
	}
}
