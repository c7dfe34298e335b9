package scenarios

import (
	"time"

	"weir/policy"
)

// oracle is an engine that knows who is bad, and drops each source for good when
// it has seen the first item of it.
type oracle struct{ bad, floods map[policy.Source]bool }

// Oracle returns an engine that knows who is bad, and drops each source for good
// when it has seen the first item of it. It shows what can be had by acting on
// single sources.
func (s *Scenario) Oracle() Engine {
	o := &oracle{make(map[policy.Source]bool), make(map[policy.Source]bool)}
	for _, bad := range []bool{true, false} { // the innocent behind a shared address come last
		for _, v := range s.site.visits {
			if p := s.Parties[v.party]; p.Bad == bad {
				o.floods[policy.SourceOf(v.Client)] = p.Name == "flood"
				o.bad[policy.SourceOf(v.Client)] = bad
			}
		}
	}
	return o
}

func (o *oracle) Observe(e *policy.Event, out []policy.Decision) []policy.Decision {
	source := policy.SourceOf(e.Source)
	if !o.bad[source] || e.Kind == policy.Connection && !o.floods[source] {
		return out
	}
	delete(o.bad, source)
	return append(out, policy.Decision{Target: policy.Target{Prefix: source.Prefix()}, Action: policy.Drop, Since: e.Time, Until: e.Time.Add(1000 * time.Hour)})
}
