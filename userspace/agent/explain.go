package agent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"weir/loader"
	"weir/policy"
	"weir/userspace/config"
	"weir/userspace/control"
)

// Explain implements control.Backend.
func (a *Agent) Explain(ctx context.Context, target policy.Target) (*control.Explanation, error) {
	if target.User != "" {
		return a.explainUser(ctx, target)
	}
	prefix := policy.JudgedPrefix(target.Prefix)
	e := &control.Explanation{Target: policy.PrefixString(prefix), Mode: string(a.current().Mode), Verdict: "pass"}
	var concerns []policy.Concern
	var rows []control.Row // of concerns
	var left bool
	err := a.core.do(ctx, func() {
		left = a.core.unstored.leaves(prefix)
		concerns = a.core.ledger.LookupPrefix(prefix)
		for _, c := range concerns {
			rows = append(rows, a.core.row(c.Decision))
		}
	})
	if err != nil {
		return nil, err
	}
	for i, c := range concerns {
		if c.Decision.Configured() {
			e.Allow = append(e.Allow, control.Allow{Prefix: policy.PrefixString(c.Decision.Prefix), Reason: c.Decision.Reason})
			continue
		}
		e.Decisions = append(e.Decisions, judgement(c.Decision, a.sample(c.Decision), rows[i], c.Wins))
	}
	wins := a.askKernelAbout(e, concerns)
	a.kernelEntries(e, prefix, concerns)
	a.conclude(e, wins, left)
	if len(concerns) == 0 && len(e.Kernel) == 0 {
		return nil, fmt.Errorf("%s: %w", e.Target, control.ErrNotFound)
	}
	winnerFirst(e.Decisions)
	return e, nil
}

// askKernelAbout completes the decisions of e and returns what wins.
func (a *Agent) askKernelAbout(e *control.Explanation, concerns []policy.Concern) *policy.Concern {
	var wins *policy.Concern
	next, attached := 0, a.protected()
	for i := range concerns {
		c := &concerns[i]
		if c.Wins {
			wins = c
		}
		if !c.Decision.Configured() {
			a.askKernel(&e.Decisions[next].Row, c.Decision, attached)
			next++
		}
	}
	return wins
}

// kernelEntries adds what the kernel holds for prefix and around it, longest
// prefix first.
func (a *Agent) kernelEntries(e *control.Explanation, prefix netip.Prefix, concerns []policy.Concern) {
	asked := map[netip.Prefix]bool{}
	ask := func(p netip.Prefix) {
		if asked[p] {
			return
		}
		asked[p] = true
		if held, ok := a.entry(p); ok {
			e.Kernel = append(e.Kernel, kernelEntry(held))
		}
	}
	ask(prefix)
	for _, c := range concerns {
		ask(c.Decision.Prefix)
	}
}

func kernelEntry(held loader.Entry) control.KernelEntry {
	out := control.KernelEntry{
		Prefix: policy.PrefixString(held.Prefix), Action: held.Action.String(),
		Rate: policy.Rate{Every: held.Every}.PerMinute(), Burst: held.Burst, BytesPerSecond: held.Bytes,
		Attempts: held.Attempts, Dropped: held.Dropped,
	}
	if !held.Expires.IsZero() {
		out.Expires = &held.Expires
	}
	return out
}

// conclude says what happens to the target, and why; left is whether a run
// before has left it in the kernel's table without a word.
func (a *Agent) conclude(e *control.Explanation, wins *policy.Concern, left bool) {
	switch {
	case wins == nil && len(e.Kernel) > 0 && left:
		e.Why = "nothing that stands concerns it"
		e.Problem = "the kernel holds an entry of a run that was killed before it stored why; it stays until the logs have been read again"
	case wins == nil && len(e.Kernel) > 0:
		e.Why = "nothing that stands concerns it"
		e.Problem = "the kernel holds an entry that nothing stands behind; it is removed at the next comparison"
	case wins == nil:
		e.Why = "nothing that stands concerns it"
	default:
		e.Verdict = wins.Decision.Action.String()
		e.Why = name(wins.Decision) + ": " + wins.Why
		held, found := a.entry(wins.Decision.Prefix)
		holds := found && enforces(held, wins.Decision)
		if k := a.engaged(); k != nil {
			var attached bool
			attachments := k.datapath.Attachments()
			attached, e.Problem = protection(attachments)
			if wins.Decision.Action == policy.Tarpit && e.Problem == "" {
				e.Problem = silence(attachments)
			}
			e.InForce = holds && attached
			if !holds {
				e.Problem = "the kernel does not hold it: see the errors in weir status"
			}
		}
	}
}

func winnerFirst(all []control.Judgement) {
	for i := range all {
		if all[i].Wins {
			first := all[i]
			copy(all[1:i+1], all[:i])
			all[0] = first
			return
		}
	}
}

// maxOfUser bounds the sources that an explanation of a user lists.
const maxOfUser = 1000

// explainUser tells of the decision on a user, and of the sources that were
// flagged for what they did in the user's name: those that sent with a stolen
// password, those that guessed it, and the user's own telephone that has an
// old one.
func (a *Agent) explainUser(ctx context.Context, target policy.Target) (*control.Explanation, error) {
	e := &control.Explanation{Target: target.User, Mode: string(a.current().Mode), Verdict: "pass"}
	named, err := a.writer.naming(target.User, maxOfUser)
	if err != nil {
		a.log.Warn("not everything is known of what was done in a user's name", "user", target.User, "error", err)
	}
	var found []*policy.Decision
	var rows []control.Row // of found
	var wins *policy.Decision
	samples := make(map[netip.Prefix][]policy.Observation) // of named that stand
	err = a.core.do(ctx, func() {
		pin, automatic := a.core.ledger.Get(target)
		wins = policy.Prevailing(pin, automatic)
		for _, d := range []*policy.Decision{wins, pin, automatic} {
			if d != nil && !slices.Contains(found, d) {
				found = append(found, d)
			}
		}
		own := len(found)
		for i := range named {
			if _, stands := a.core.ledger.Get(named[i].Target); stands != nil && stands.Since.Equal(named[i].Since) {
				found = append(found, stands)
				samples[stands.Prefix] = named[i].Evidence.Sample
			}
		}
		for _, d := range found {
			rows = append(rows, a.core.row(d))
		}
		switch sources := len(found) - own; {
		case own > 0:
			e.Verdict = found[0].Action.String()
			// A guarded user's further sources are judged at their first event.
			asks := a.asks()
			e.InForce = e.Mode == string(config.Enforce) && (found[0].Action == policy.Guard || asks)
			if !asks && (wins.Action == policy.Defer || wins.Action == policy.Limit || wins.Action == policy.OwnQuota) {
				e.Problem = "no mail server asks weir about this user's mail: set listen below [postfix_policy]"
			}
			e.Why = fmt.Sprintf("%s; sources flagged for what they did in its name: %d", name(found[0]), sources)
		default:
			e.Why = fmt.Sprintf("no decision is on the user itself; sources flagged for what they did in its name: %d", sources)
		}
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("user %q: %w", target.User, control.ErrNotFound)
	}
	attached := a.protected()
	for i, d := range found {
		sample, read := samples[d.Prefix]
		if !read {
			sample = a.sample(d)
		}
		e.Decisions = append(e.Decisions, judgement(d, sample, rows[i], d == wins))
		a.askKernel(&e.Decisions[i].Row, d, attached)
	}
	return e, nil
}

// sample returns the sample of the evidence for d, as far as it can be read.
func (a *Agent) sample(d *policy.Decision) []policy.Observation {
	sample, err := a.writer.sample(d)
	if err != nil {
		a.log.Warn("the evidence of a decision cannot be read", "target", d.Target.String(), "error", err)
	}
	return sample
}

// judgement writes d with the sample of its evidence.
func judgement(d *policy.Decision, sample []policy.Observation, row control.Row, wins bool) control.Judgement {
	whole := *d
	whole.Evidence.Sample = sample
	j := control.JudgementOf(&whole)
	j.Row, j.Wins = row, wins
	return j
}
