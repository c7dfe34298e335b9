package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"weir/policy"
	"weir/userspace/control"
)

// book is what operators were told. Of each of their targets it knows what may
// be found there: one thing, or two where the agent was killed before it said
// whether it had done what it was asked to.
type book struct {
	mu       sync.Mutex
	pins     map[string][]string // reasons of pins by target; "" is none
	sure     map[string]bool     // decisions that were listed before a change was acknowledged
	released map[string]bool     // decisions that were released; false: perhaps
	acks     int
	unsure   int
}

func newBook() *book {
	return &book{pins: map[string][]string{}, sure: map[string]bool{}, released: map[string]bool{}}
}

// targets of one operator: sources and nets, and users.
func targets() (prefixes, users []string) {
	for n := range 30 {
		prefixes = append(prefixes, fmt.Sprintf("198.51.100.%d", 100+n), fmt.Sprintf("2001:db8:%x::/64", 0xcc00+n))
		users = append(users, fmt.Sprintf("pinned%d", n))
		if n%5 == 0 {
			prefixes = append(prefixes, fmt.Sprintf("198.51.%d.0/24", 101+n))
		}
	}
	return prefixes, users
}

// change has one change made and notes what came of it.
func (b *book) change(target, reason string, do func() error) error {
	b.mu.Lock()
	if b.pins[target] == nil {
		b.pins[target] = []string{""}
	}
	b.pins[target] = append(b.pins[target], reason)
	b.mu.Unlock()
	err := do()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.unsure++
		return err
	}
	b.acks++
	b.pins[target] = []string{reason}
	return nil
}

// pinAndUnpin is an operator who pins and unpins until the agent is gone.
func (b *book) pinAndUnpin(ctx context.Context, c *control.Client, random *rand.Rand) error {
	prefixes, _ := targets()
	for n := 0; ctx.Err() == nil; n++ {
		target := prefixes[random.IntN(len(prefixes))]
		reason := fmt.Sprintf("change %x", random.Uint64())
		do := func() error { return pin(ctx, c, target, reason) }
		if random.IntN(3) == 0 {
			reason = ""
			do = func() error { return unpin(ctx, c, target) }
		}
		if err := b.change(target, reason, do); err != nil {
			return err
		}
	}
	return nil
}

// setAndRelease is an operator who sets and resets users, and releases.
func (b *book) setAndRelease(ctx context.Context, c *control.Client, random *rand.Rand) error {
	_, users := targets()
	for ctx.Err() == nil {
		user := users[random.IntN(len(users))]
		reason := fmt.Sprintf("change %x", random.Uint64())
		var err error
		switch random.IntN(4) {
		case 0:
			err = b.release(ctx, c)
		case 1:
			err = b.change(user, "", func() error { _, err := c.ResetUser(ctx, user, ""); return err })
		default:
			err = b.change(user, reason, func() error {
				_, err := c.SetUser(ctx, user, control.Terms{Action: policy.Defer, Reason: reason})
				return err
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// release releases a source whose decision is known to be stored.
func (b *book) release(ctx context.Context, c *control.Client) error {
	b.mu.Lock()
	target := ""
	for target = range b.sure {
		if _, done := b.released[target]; !done && target[0] != 'a' && target != guesser4.String() { // a user's is not
			break
		}
		target = ""
	}
	if target == "" {
		b.mu.Unlock()
		return nil
	}
	b.released[target] = false
	b.mu.Unlock()
	_, err := c.Release(ctx, target, "")
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.unsure++
		if errors.Is(err, control.ErrNotFound) {
			return fmt.Errorf("a decision that was stored is gone: %w", err)
		}
		return err
	}
	b.acks++
	b.released[target] = true
	return nil
}

// check compares what a new agent lists with the book, and settles what was
// unsure. It returns what is wrong.
func (b *book) check(pins, decisions map[string]control.Row, l *load) (wrong []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for target, may := range b.pins {
		reason := pins[target].Reason
		found := false
		for _, m := range may {
			found = found || m == reason
		}
		if !found {
			bad("the pin on %s is %q, want one of %q", target, reason, may)
		}
		b.pins[target] = []string{reason}
	}
	for target, row := range pins {
		if b.pins[target] == nil {
			bad("a pin that nobody made: %+v", row)
		}
	}
	for target, done := range b.released {
		_, stands := decisions[target]
		switch {
		case done && stands:
			bad("%s was released and is back", target)
		case !done && stands:
			delete(b.released, target)
		case !done:
			b.released[target] = true
		}
	}
	for target := range b.sure {
		if _, stands := decisions[target]; !stands && !b.released[target] {
			bad("the decision on %s is lost", target)
		}
	}
	for target, row := range decisions {
		if row.User != "" && l.asked[row.User] <= quotaOf || row.Source != "" && !l.guessers[target] {
			bad("a decision without a reason: %+v", row)
		}
	}
	return wrong
}

// promise notes that what was listed is stored by now: a change was
// acknowledged after it had been listed, and all that is pending is committed
// together.
func (b *book) promise(decisions map[string]control.Row) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for target := range decisions {
		b.sure[target] = true
	}
}
