package agent

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"weir/policy"
	"weir/userspace/config"
	"weir/userspace/maillog"
)

// compare reads old logs once, has two configurations decide over them, and
// writes who is flagged by one of them only, and who by both but not at the
// same time.
func compare(ctx context.Context, o ReplayOptions, stdout io.Writer) error {
	total, reference, err := surveyLogs(o.Logs)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(stdout, 64<<10)
	f, err := newFormat(o, out, nil)
	if err != nil {
		return err
	}
	c := &comparison{names: o.Compare, targets: make(map[policy.Target]*compared)}
	var configs [2]*config.Config
	for i, path := range o.Compare {
		if configs[i], err = config.Load(path); err != nil {
			return err
		}
	}
	// The first engine is the pipeline's own, the second sees its events.
	p, err := newPipeline(configs[0], maillog.Options{Location: time.Local, Reference: reference})
	if err != nil {
		return err
	}
	if c.second, err = policy.NewEngine(configs[1].Rules, configs[1].Limits); err != nil {
		return err
	}
	for i, e := range []*policy.Engine{p.engine, c.second} {
		if err := setLocator(configs[i], e); err != nil {
			return err
		}
	}
	for i := range c.allowed {
		c.allowed[i] = policy.NewLedger()
		c.allowed[i].SetAllow(configs[i].Allow)
	}
	r := replay{pipeline: p, to: c, progress: o.Progress, total: total}
	for _, path := range o.Logs {
		if err := r.log(ctx, path, o.Stdin); err != nil {
			return err
		}
	}
	c.write(f)
	return errors.Join(f.err, out.Flush())
}

// comparison gathers what two engines decide.
type comparison struct {
	names   [2]string
	second  *policy.Engine
	allowed [2]*policy.Ledger
	made    [2]int // decisions
	targets map[policy.Target]*compared
	out     []policy.Decision
}

// compared is the first decision of each engine on one target, and how many
// followed.
type compared struct {
	first [2]*policy.Decision
	made  [2]int
}

// event implements observer.
func (c *comparison) event(e *policy.Event) {
	c.out = c.second.Observe(e, c.out[:0])
	for i := range c.out {
		c.note(1, &c.out[i])
	}
}

// decision implements observer.
func (c *comparison) decision(d *policy.Decision) { c.note(0, d) }

func (c *comparison) failed() error { return nil }

func (c *comparison) note(by int, d *policy.Decision) {
	if d.Action == policy.Release || allowed(c.allowed[by], d) {
		return
	}
	c.made[by]++
	t := c.targets[d.Target]
	if t == nil {
		t = &compared{}
		c.targets[d.Target] = t
	}
	if t.made[by]++; t.first[by] == nil {
		first := *d
		first.Evidence.Sample = nil
		t.first[by] = &first
	}
}

// comparedLine is a target in JSON: the first decision of each side, or null.
type comparedLine struct {
	Source string        `json:"source,omitempty"`
	User   string        `json:"user,omitempty"`
	First  *decisionLine `json:"a"`
	Second *decisionLine `json:"b"`
	Made   [2]int        `json:"decisions"`
}

// maxCompared bounds each list of the text form.
const maxCompared = 100

// write tells what was gathered, by the time of the first decision.
func (c *comparison) write(f *format) {
	var only [2][]*compared
	var apart, same []*compared
	var count [2][2]int // sources and prefixes, users
	for t, x := range c.targets {
		for by := range x.first {
			if x.first[by] != nil {
				kind := 0
				if t.User != "" {
					kind = 1
				}
				count[by][kind]++
			}
		}
		switch a, b := x.first[0], x.first[1]; {
		case b == nil:
			only[0] = append(only[0], x)
		case a == nil:
			only[1] = append(only[1], x)
		case !a.Since.Equal(b.Since) || a.Action != b.Action:
			apart = append(apart, x)
		default:
			same = append(same, x)
		}
	}
	if f.output == OutputJSONL {
		for _, x := range sorted(slices.Concat(only[0], only[1], apart, same)) {
			f.write(x.line())
		}
		return
	}
	f.printf("a: %s\nb: %s\n\n%-28s %10s %10s\n", c.names[0], c.names[1], "", "a", "b")
	f.printf("%-28s %10d %10d\n", "decisions", c.made[0], c.made[1])
	f.printf("%-28s %10d %10d\n", "sources and prefixes flagged", count[0][0], count[1][0])
	f.printf("%-28s %10d %10d\n", "users flagged", count[0][1], count[1][1])
	f.printf("%-28s %10d %10d\n", "flagged by this one only", len(only[0]), len(only[1]))
	f.printf("%-28s %21d\n", "flagged by both alike", len(same))
	for by, list := range only {
		c.list(f, fmt.Sprintf("only %c flags", 'a'+by), list, func(x *compared) { told(f, "", x.first[by]) })
	}
	c.list(f, "both flag, at another time or otherwise", apart, func(x *compared) {
		told(f, "a ", x.first[0])
		told(f, "b ", x.first[1])
	})
}

func (c *comparison) list(f *format, title string, list []*compared, one func(*compared)) {
	if len(list) == 0 {
		return
	}
	f.printf("\n%s:\n", title)
	for i, x := range sorted(list) {
		if i == maxCompared {
			f.printf("  and %d more; --output jsonl has all\n", len(list)-i)
			break
		}
		one(x)
	}
}

func told(f *format, side string, d *policy.Decision) {
	f.printf("  %s%s  %-6s %-20s %s: %s\n", side, d.Since.UTC().Format(time.RFC3339), d.Action, printable(d.Target.String()), d.Rule, printable(d.Reason))
}

// earliest is the decision that stands first, of either side.
func (x *compared) earliest() *policy.Decision {
	a, b := x.first[0], x.first[1]
	if a == nil || b != nil && b.Since.Before(a.Since) {
		return b
	}
	return a
}

func sorted(list []*compared) []*compared {
	slices.SortFunc(list, func(x, y *compared) int {
		a, b := x.earliest(), y.earliest()
		return cmp.Or(a.Since.Compare(b.Since), a.Prefix.Compare(b.Prefix), cmp.Compare(a.User, b.User))
	})
	return list
}

func (x *compared) line() comparedLine {
	d := x.earliest()
	l := comparedLine{User: d.User, Made: x.made}
	if d.User == "" {
		l.Source = d.Prefix.String()
	}
	for by, to := range []**decisionLine{&l.First, &l.Second} {
		if x.first[by] != nil {
			one := decisionLineOf(x.first[by])
			*to = &one
		}
	}
	return l
}
