package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weir/policy"
	"weir/tests/scenarios"
)

// reasons count the items of some parties by what refused them.
type reasons struct {
	counts map[reason]*refusals
	start  time.Time
}

type reason struct{ party, rule, target string }

type refusals struct {
	items   int
	first   scenarios.Item
	because policy.Decision // that refused the first
}

// watch has the reasons counted for parties of a scenario.
func watch(s *scenarios.Scenario, parties string) *reasons {
	if parties == "" {
		return nil
	}
	asked := strings.Split(parties, ",")
	r := &reasons{counts: make(map[reason]*refusals), start: s.Start}
	s.Watch = func(i *scenarios.Item, by *policy.Decision) {
		p := s.Parties[i.Party]
		if !slices.Contains(asked, p.Name) && (parties != "all" || p.Bad || by == nil) {
			return
		}
		k := reason{party: p.Name, rule: "nothing"}
		if by != nil {
			k.rule, k.target = by.Rule, by.Target.String()
		}
		if r.counts[k] == nil {
			r.counts[k] = &refusals{first: *i}
			if by != nil {
				r.counts[k].because = *by
			}
		}
		r.counts[k].items++
	}
	return r
}

// most is how many reasons are told of a party.
const most = 12

// String tells the reasons that refused most, of each party.
func (r *reasons) String() string {
	if r == nil {
		return ""
	}
	keys := slices.SortedFunc(maps.Keys(r.counts), func(a, b reason) int {
		return cmp.Or(cmp.Compare(a.party, b.party), cmp.Compare(r.counts[b].items, r.counts[a].items), cmp.Compare(a.rule+a.target, b.rule+b.target))
	})
	var b strings.Builder
	told := make(map[string]int)
	for _, k := range keys {
		if told[k.party]++; told[k.party] > most {
			continue
		}
		c := r.counts[k]
		fmt.Fprintf(&b, "  %s: %d items refused by %s", k.party, c.items, k.rule)
		if k.target != "" {
			fmt.Fprintf(&b, ", %s of %s decided after %s: %s", c.because.Action, k.target, c.because.Since.Sub(r.start).Round(time.Second), c.because.Reason)
		}
		fmt.Fprintf(&b, "; the first a %s after %s, line %d, of %s %s\n", c.first.Kind, c.first.Time.Sub(r.start).Round(time.Second), c.first.Line, c.first.Source, c.first.User)
	}
	return b.String()
}
