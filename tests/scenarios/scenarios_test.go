package scenarios

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"weir/policy"
	"weir/userspace/agent"
)

// small is a scenario of a seed that takes no time.
func small(seed uint64) Options {
	o := OptionsOf(seed)
	o.Users, o.Days = 300, 1
	return o
}

func mustNew(t testing.TB, o Options) *Scenario {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func defaultEngine() (Engine, error) {
	return policy.NewEngine(policy.DefaultRules(), policy.DefaultLimits())
}

// The bounds that the default rules keep on small scenarios, in which a party
// has few items. What they do on whole ones is in docs/benchmarks.md.
const (
	leastStopped = 0.84
	mostRefused  = 0.02
)

// The parser finds in the logs what was done, and the default rules tell who
// is who.
func TestDefaultRulesHold(t *testing.T) {
	stopped, refused := 0.0, 0.0
	const seeds = 8
	for seed := range uint64(seeds) {
		run, err := mustNew(t, small(seed)).Score(defaultEngine)
		if err != nil {
			t.Fatal(err)
		}
		if run.Elsewhere*200 > run.Lines || max(run.Events, run.Truth)-min(run.Events, run.Truth) > run.Truth/1000 || run.Events == 0 {
			t.Errorf("seed %d: %d of %d lines are read otherwise, %d events for %d", seed, run.Elsewhere, run.Lines, run.Events, run.Truth)
		}
		stopped += run.Closed.Stopped() / seeds
		refused += run.Closed.Refused() / seeds
		for _, tally := range run.Closed.Tallies {
			if tally.Bad && tally.Share() > 0.9 || !tally.Bad && tally.Share() < 0.01 {
				continue // as it should be, or nearly
			}
			t.Logf("seed %d: %-18s %5d items, %5.1f %% refused, %d before the first", seed, tally.Name, tally.Items, 100*tally.Share(), tally.Lost)
		}
	}
	t.Logf("%.1f %% of the attacks stopped, %.3f %% of good items refused", 100*stopped, 100*refused)
	if stopped < leastStopped {
		t.Errorf("%.1f %% of the attacks are stopped, want %.1f", 100*stopped, 100*leastStopped)
	}
	if refused > mostRefused {
		t.Errorf("%.2f %% of good items are refused, want at most %.2f", 100*refused, 100*mostRefused)
	}
}

// Every item of every session is told of once, in the order of time, with the
// session's opening before it; every party has some.
func TestEveryItemHasALabel(t *testing.T) {
	parties := make(map[string]int)
	for seed := range uint64(mixCount) {
		s := mustNew(t, small(seed))
		p, err := s.Play()
		if err != nil {
			t.Fatal(err)
		}
		told := make([]int, s.Sessions())
		opened := make([]bool, s.Sessions())
		var last Item
		for p.Next() {
			for _, i := range p.New {
				if i.Time.Before(last.Time) || i.Line < last.Line || !i.Source.IsValid() {
					t.Fatalf("seed %d: %+v comes after %+v", seed, i, last)
				}
				if last = i; i.Kind == Opening {
					opened[i.Session] = true
					continue
				}
				if !opened[i.Session] {
					t.Fatalf("seed %d: %+v has no opening", seed, i)
				}
				told[i.Session]++
				parties[s.Parties[i.Party].Name]++
			}
		}
		for i, n := range told {
			v := &s.site.visits[i]
			if !s.site.hosts[v.Host].Verbose && v.User != "" && len(v.Failed) > 0 {
				continue // Dovecot does not tell of failures before a success, nor can anybody
			}
			if n != items(&v.Visit) {
				t.Fatalf("seed %d: session %d of %s has %d items, and %d are told of: %+v", seed, i, s.Parties[v.party].Name, items(&v.Visit), n, v)
			}
		}
	}
	for _, r := range slices.Concat(people, attacks) {
		if parties[r.name] == 0 {
			t.Errorf("%s never does anything", r.name)
		}
	}
}

// Whoever is good and whoever is bad never share an address, but for the
// carriers' NAT in one variety.
func TestGoodAndBadDoNotShareAnAddress(t *testing.T) {
	for seed := range uint64(8) {
		s := mustNew(t, small(seed))
		good := make(map[policy.Source]string)
		for _, v := range s.site.visits {
			if p := s.Parties[v.party]; !p.Bad {
				good[policy.SourceOf(v.Client)] = p.Name
			}
		}
		shared := make(map[policy.Source]bool)
		for _, v := range s.site.visits {
			p, source := s.Parties[v.party], policy.SourceOf(v.Client)
			if !p.Bad || good[source] == "" {
				continue
			}
			if shared[source] = true; seed%4 != 1 || len(shared) > 3 {
				t.Errorf("seed %d: %s and %s share %s", seed, p.Name, good[source], source)
			}
		}
	}
}

func TestSameSeedSameBytes(t *testing.T) {
	write := func(seed uint64) []byte {
		var log, truth bytes.Buffer
		if err := mustNew(t, small(seed)).Write(&log, &truth); err != nil {
			t.Fatal(err)
		}
		return append(log.Bytes(), truth.Bytes()...)
	}
	if !bytes.Equal(write(5), write(5)) {
		t.Error("the same seed gives two scenarios")
	}
	if bytes.Equal(write(5), write(9)) {
		t.Error("two seeds give the same scenario")
	}
}

// A party's own chance is not moved by who else takes part.
func TestOneAttackAlone(t *testing.T) {
	o := small(6)
	o.Attacks = []string{"spray", "flood"}
	s := mustNew(t, o)
	if alone, among := spray(s), spray(mustNew(t, small(6))); len(alone) == 0 || !slices.Equal(alone, among) {
		t.Errorf("spraying differs when others attack: %d sessions alone, %d among them", len(alone), len(among))
	}
	bad := 0
	for _, p := range s.Parties {
		if p.Bad {
			bad++
		}
	}
	if bad != 2 {
		t.Errorf("%d attacks take part", bad)
	}
	o.Quiet = true
	if s = mustNew(t, o); s.Parties[len(s.Parties)-1].Bad {
		t.Error("an attack takes part in a quiet scenario")
	}
}

// spray are the times of one attack's sessions.
func spray(s *Scenario) (times []time.Duration) {
	for _, v := range s.site.visits {
		if s.Parties[v.party].Name == "spray" {
			times = append(times, v.At)
		}
	}
	return times
}

// What weir replay writes of a log is judged as the engine's own decisions
// are.
func TestReplayIsJudgedAlike(t *testing.T) {
	for _, seed := range []uint64{1, 2} {
		s := mustNew(t, small(seed))
		path := filepath.Join(t.TempDir(), "mail.log")
		var log, truth, decisions bytes.Buffer
		if err := s.Write(&log, &truth); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, log.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := agent.Replay(context.Background(), agent.ReplayOptions{Logs: []string{path}, Output: agent.OutputJSONL}, &decisions); err != nil {
			t.Fatal(err)
		}
		read, err := ReadTruth(&truth)
		if err != nil {
			t.Fatal(err)
		}
		list, err := ReadDecisions(&decisions)
		if err != nil {
			t.Fatal(err)
		}
		run, err := s.Score(defaultEngine)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 || len(list) != run.Told {
			t.Errorf("seed %d: %d decisions, not %d", seed, len(list), run.Told)
		}
		want, got := tallies(run.Open), tallies(read.Judge(list))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("seed %d:\n got %v\nwant %v", seed, got, want)
		}
	}
}

func tallies(s *Score) map[string][3]int {
	out := make(map[string][3]int)
	for _, t := range s.Tallies {
		if t.Items > 0 {
			out[t.Name] = [3]int{t.Items, t.Refused, t.Lost}
		}
	}
	return out
}

func TestValidate(t *testing.T) {
	for name, spoil := range map[string]func(*Options){
		"no day":         func(o *Options) { o.Days = 0 },
		"few users":      func(o *Options) { o.Users = 1 },
		"no mix":         func(o *Options) { o.Mix = 99 },
		"unknown attack": func(o *Options) { o.Attacks = []string{"x"} },
	} {
		o := small(1)
		spoil(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
