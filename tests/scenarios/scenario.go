package scenarios

import (
	"cmp"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"

	"weir/policy"
	"weir/tests/mixlog"
)

// Scenario is a log to be, and who is who in it.
type Scenario struct {
	Options Options
	Start   time.Time
	Parties []Party

	// Watch, if it is set, is told of each item of an open run, and of the
	// decision that refuses it, nil if none does.
	Watch func(*Item, *policy.Decision)

	site *site
}

// Party is one that takes part.
type Party struct {
	Name string
	Tell string // what it does, in a few words
	Bad  bool
}

// New makes a scenario. Nothing of the log is written yet.
func New(o Options) (*Scenario, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("make scenario: %w", err)
	}
	s := newSite(o)
	out := &Scenario{Options: o, Start: s.start, site: s}
	cast := func(roles []role, bad bool) {
		for _, r := range roles {
			if bad && (o.Quiet || len(o.Attacks) > 0 && !slices.Contains(o.Attacks, r.name)) {
				continue
			}
			r.play(&party{site: s, dice: newDice(o.Seed, r.name), name: r.name, id: uint8(len(out.Parties)), bad: bad})
			out.Parties = append(out.Parties, Party{r.name, r.tell, bad})
		}
	}
	cast(people, false)
	cast(attacks, true)
	for i := range s.visits {
		if v := &s.visits[i]; items(&v.Visit) > maxItems {
			return nil, fmt.Errorf("make scenario: a session of %s has %d items, more than %d", out.Parties[v.party].Name, items(&v.Visit), maxItems)
		}
	}
	slices.SortStableFunc(s.visits, func(a, b visit) int { return cmp.Compare(a.At, b.At) })
	return out, nil
}

// Sessions returns how many sessions the scenario has.
func (s *Scenario) Sessions() int { return len(s.site.visits) }

// Place tells where an address of the scenario is: its country and the number
// of its autonomous system, as a database of places would.
func (s *Scenario) Place(a netip.Addr) (country string, number uint32, known bool) {
	return s.site.net.place(a)
}

// generator writes the log.
func (s *Scenario) generator() (*mixlog.Generator, error) {
	accounts := make([]string, len(s.site.users))
	for i, u := range s.site.users {
		accounts[i] = u.name
	}
	var visits iter.Seq[mixlog.Visit] = func(yield func(mixlog.Visit) bool) {
		for i := range s.site.visits {
			if !yield(s.site.visits[i].Visit) {
				return
			}
		}
	}
	return mixlog.Play(mixlog.Script{Seed: s.Options.Seed, Start: s.Start, Hosts: s.site.hosts, Accounts: accounts, Visits: visits})
}
