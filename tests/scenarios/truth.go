package scenarios

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"time"

	"weir/policy"
)

// truthLine is a line of a truth file: an item, and whose.
type truthLine struct {
	Item
	Party string `json:"party"`
	Bad   bool   `json:"bad"`
}

// Write writes the log and beside it the truth: one JSON object a line for
// each item and each opening of a session, in the order of the log.
func (s *Scenario) Write(log, truth io.Writer) error {
	p, err := s.Play()
	if err != nil {
		return err
	}
	defer p.Close()
	lines := bufio.NewWriterSize(log, 1<<18)
	beside := bufio.NewWriterSize(truth, 1<<18)
	encoder := json.NewEncoder(beside)
	encoder.SetEscapeHTML(false)
	for p.Next() {
		lines.Write(p.Record().Line) // errors stay until Flush
		lines.WriteByte('\n')
		for i := range p.New {
			whose := s.Parties[p.New[i].Party]
			if err := encoder.Encode(truthLine{p.New[i], whose.Name, whose.Bad}); err != nil {
				return fmt.Errorf("write truth: %w", err)
			}
		}
	}
	return errors.Join(lines.Flush(), beside.Flush())
}

// Truth is what a truth file says.
type Truth struct {
	Parties []Party
	Items   []Item
}

// Truth plays the log and returns what is true of it. each, if it is not nil,
// is given every line, which is valid until it returns.
func (s *Scenario) Truth(each func(line []byte)) (*Truth, error) {
	p, err := s.Play()
	if err != nil {
		return nil, err
	}
	defer p.Close()
	t := &Truth{Parties: s.Parties}
	for p.Next() {
		t.Items = append(t.Items, p.New...)
		if each != nil {
			each(p.Record().Line)
		}
	}
	return t, nil
}

// ReadTruth reads what Write has written.
func ReadTruth(r io.Reader) (*Truth, error) {
	t := &Truth{}
	numbers := make(map[string]uint8)
	decoder := json.NewDecoder(bufio.NewReaderSize(r, 1<<18))
	for {
		var l truthLine
		if err := decoder.Decode(&l); errors.Is(err, io.EOF) {
			return t, nil
		} else if err != nil {
			return nil, fmt.Errorf("read truth, line %d: %w", len(t.Items)+1, err)
		}
		n, known := numbers[l.Party]
		if !known {
			if len(t.Parties) > math.MaxUint8 {
				return nil, errors.New("read truth: too many parties")
			}
			n = uint8(len(t.Parties))
			numbers[l.Party] = n
			t.Parties = append(t.Parties, Party{Name: l.Party, Bad: l.Bad})
		}
		l.Item.Party = n
		t.Items = append(t.Items, l.Item)
	}
}

// decisionLine is what `weir replay --output jsonl` writes of a decision.
type decisionLine struct {
	Time   time.Time     `json:"time"`
	Action policy.Action `json:"action"`
	Source string        `json:"source"`
	User   string        `json:"user"`
	Until  time.Time     `json:"until"`
	Rate   float64       `json:"rate"` // a minute
	Burst  int           `json:"burst"`
	Rule   string        `json:"rule"`
}

// ReadDecisions reads decisions as `weir replay --output jsonl` writes them.
func ReadDecisions(r io.Reader) (list []policy.Decision, err error) {
	decoder := json.NewDecoder(bufio.NewReaderSize(r, 1<<18))
	for {
		var l decisionLine
		if err := decoder.Decode(&l); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, fmt.Errorf("read decisions, line %d: %w", len(list)+1, err)
		}
		d := policy.Decision{Action: l.Action, Since: l.Time, Until: l.Until, Rule: l.Rule}
		if d.User = l.User; d.User == "" {
			if d.Prefix, err = netip.ParsePrefix(l.Source); err != nil {
				return nil, fmt.Errorf("read decisions, line %d: %w", len(list)+1, err)
			}
		}
		if l.Rate > 0 {
			d.Rate = policy.Rate{Every: time.Duration(math.Round(float64(time.Minute) / l.Rate)), Burst: max(l.Burst, 1)}
		}
		list = append(list, d)
	}
}

// Judge scores decisions, which are in the order of their times. It is the
// open run of whoever has made them.
func (t *Truth) Judge(decisions []policy.Decision) *Score {
	score := &Score{}
	for _, p := range t.Parties {
		score.Tallies = append(score.Tallies, Tally{Party: p})
	}
	j := NewJudge()
	for _, d := range decisions {
		j.Decide(d)
	}
	for i := range t.Items {
		if item := &t.Items[i]; item.Kind == Opening {
			j.Refuses(item)
		} else {
			score.Tallies[item.Party].count(j.Refuses(item) != nil)
		}
	}
	return score
}
