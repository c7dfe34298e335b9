package scenarios

import (
	"testing"

	"weir/policy"
)

// nobody refuses nothing.
type nobody struct{}

func (nobody) Observe(_ *policy.Event, out []policy.Decision) []policy.Decision { return out }

// The scores of one who knows everything, and of one who does nothing.
func TestScoresOfExtremes(t *testing.T) {
	for seed := range uint64(mixCount) {
		s := mustNew(t, small(seed))
		run, err := s.Score(func() (Engine, error) { return s.Oracle(), nil })
		if err != nil {
			t.Fatal(err)
		}
		for _, score := range []*Score{run.Open, run.Closed} {
			if score.Refused() != 0 {
				t.Errorf("seed %d: an oracle refuses %f of the good items, of %s most", seed, score.Refused(), score.Worst().Name)
			}
			for _, tally := range score.Tallies {
				alone := map[string]bool{"brute-fast": true, "brute-slow": true, "stolen-one-source": true, "harvest-one": true, "flood": true, "v6-address-a-try": true, "spray": true}
				if tally.Bad && alone[tally.Name] && tally.Share() < 0.9 {
					t.Errorf("seed %d: an oracle stops %.3f of %s", seed, tally.Share(), tally.Name)
				}
				if tally.Bad && tally.Lost == 0 {
					t.Errorf("seed %d: the first item of %s is refused before anybody has seen it", seed, tally.Name)
				}
			}
		}
		if run, err = s.Score(func() (Engine, error) { return nobody{}, nil }); err != nil {
			t.Fatal(err)
		}
		if run.Open.Stopped() != 0 || run.Open.Refused() != 0 || run.Closed.Stopped() != 0 {
			t.Errorf("seed %d: nobody refuses something", seed)
		}
	}
}
