package scenarios

import (
	"fmt"
	"time"

	"weir/policy"
	"weir/userspace/maillog"
)

// Tally is what became of a party's items.
type Tally struct {
	Party
	Items   int
	Refused int
	Lost    int // items that came through before the first that did not
}

// Share is how much of the party's items was refused, from 0 to 1.
func (t *Tally) Share() float64 {
	if t.Items == 0 {
		return 0
	}
	return float64(t.Refused) / float64(t.Items)
}

func (t *Tally) count(refused bool) {
	t.Items++
	if refused {
		t.Refused++
	} else if t.Refused == 0 {
		t.Lost++
	}
}

// Score is what became of everybody in a scenario.
type Score struct {
	Options Options
	Tallies []Tally // of the parties that had items
}

func newScore(s *Scenario) *Score {
	score := &Score{Options: s.Options}
	for _, p := range s.Parties {
		score.Tallies = append(score.Tallies, Tally{Party: p})
	}
	return score
}

// Stopped is the mean over the attacks of the share that was stopped.
func (s *Score) Stopped() float64 {
	sum, n := 0.0, 0
	for i := range s.Tallies {
		if t := &s.Tallies[i]; t.Bad && t.Items > 0 {
			sum += t.Share()
			n++
		}
	}
	return sum / float64(max(n, 1))
}

// Refused is the share of all good items that was refused.
func (s *Score) Refused() float64 {
	var all Tally
	for i := range s.Tallies {
		if t := &s.Tallies[i]; !t.Bad {
			all.Items += t.Items
			all.Refused += t.Refused
		}
	}
	return all.Share()
}

// Worst is the good party of whose items the largest share was refused.
func (s *Score) Worst() (worst Tally) {
	for i := range s.Tallies {
		if t := &s.Tallies[i]; !t.Bad && (worst.Name == "" || t.Share() > worst.Share()) {
			worst = *t
		}
	}
	return worst
}

// Run is a pass over a scenario's log.
type Run struct {
	Lines  uint64
	Events uint64 // that weir's parser understood
	Truth  uint64 // that there were

	// Elsewhere counts lines of which the parser understands another number of
	// events than the truth has. A home in which one device fails while
	// another succeeds makes it wait for a second line before it believes the
	// host's Dovecot, so that it tells the same a little later.
	Elsewhere uint64

	// Open is the score if what an attacker does were the same whatever
	// happens to it, and the engine saw all of it: so a log that was written
	// elsewhere is replayed.
	Open *Score
	// Closed is the score if the engine does not see what was refused, for a
	// dropped source leaves no trace in a log.
	Closed *Score
	// Told are the decisions of the open run.
	Told int
}

// Engine judges events. It is policy.Engine's one method.
type Engine interface {
	Observe(*policy.Event, []policy.Decision) []policy.Decision
}

// judged is an engine whose decisions are judged.
type judged struct {
	engine Engine
	judge  *Judge
	score  *Score
	hidden []uint64 // of each session the items that the engine does not see; nil: it sees all
	out    []policy.Decision
	told   int
}

// Score plays the scenario's log, has it read as weir reads it, and judges the
// decisions of engines that newEngine makes: one for the open run, one for the
// closed one.
func (s *Scenario) Score(newEngine func() (Engine, error)) (*Run, error) {
	var runs [2]judged
	for i := range runs {
		engine, err := newEngine()
		if err != nil {
			return nil, fmt.Errorf("score scenario: %w", err)
		}
		runs[i] = judged{engine: engine, judge: NewJudge(), score: newScore(s)}
	}
	runs[1].hidden = make([]uint64, s.Sessions())
	player, err := s.Play()
	if err != nil {
		return nil, err
	}
	defer player.Close()
	parser := maillog.NewParser(maillog.Options{Location: time.UTC, Reference: s.Start.AddDate(0, 1, 0)})
	out := &Run{Open: runs[0].score, Closed: runs[1].score}
	var events []policy.Event
	for player.Next() {
		r := player.Record()
		if events = parser.Line(r.Line, r.Number, events[:0]); len(events) != len(r.Events) {
			out.Elsewhere++
		}
		out.Lines++
		out.Events += uint64(len(events))
		out.Truth += uint64(len(r.Events))
		for i := range runs {
			runs[i].line(player, events)
		}
	}
	out.Told = runs[0].told
	return out, nil
}

// line judges the items that a line is the first to tell of, and then has the
// engine see its events.
func (j *judged) line(p *Player, events []policy.Event) {
	for i := range p.New {
		item := &p.New[i]
		by := j.judge.Refuses(item)
		if item.Kind != Opening {
			j.score.Tallies[item.Party].count(by != nil)
			if j.hidden == nil && p.scenario.Watch != nil {
				p.scenario.Watch(item, by)
			}
		}
		if by != nil && j.hidden != nil {
			j.hidden[item.Session] |= item.bit()
		}
	}
	for i := range events {
		if j.hidden != nil && j.hides(p, events, i) {
			continue
		}
		j.out = j.engine.Observe(&events[i], j.out[:0])
		for k := range j.out {
			j.judge.Decide(j.out[k])
			j.told++
		}
	}
}

// hides reports whether an event of the line is of an item that was refused.
func (j *judged) hides(p *Player, events []policy.Event, i int) bool {
	if r := p.Record(); len(events) == len(r.Events) {
		o := r.Origins[i]
		return j.hidden[o.Visit]&(1|2<<o.Item) != 0
	}
	return j.judge.wouldRefuse(&events[i])
}
