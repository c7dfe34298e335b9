package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"weir/tests/lab"
)

const (
	guessers = 200
	thieves  = 40
)

// play is the demo while it runs.
type play struct {
	lab    *lab.Lab
	weir   *lab.Weir
	screen *screen
	good   *good
	still  *stillness

	guess, spam figures
	last        atomic.Pointer[counts] // what weir said last
}

// counts is what weir says at a moment.
type counts struct {
	flagged []netip.Prefix // sources, and nets in which many misbehave
	dropped uint64         // packets of theirs
}

func (p *play) counts(ctx context.Context) (counts, error) {
	rows, err := p.weir.List(ctx)
	var c counts
	for _, row := range rows {
		if row.Source == "" {
			continue
		}
		prefix, bad := prefixOf(row.Source)
		err = errors.Join(err, bad)
		c.flagged = append(c.flagged, prefix)
		c.dropped += row.Dropped
	}
	p.last.Store(&c)
	return c, err
}

// prefixOf reads a source as weir writes it.
func prefixOf(source string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(source); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	return netip.ParsePrefix(source)
}

// flagged reports whether weir had flagged the source of addr, or a net around
// it, when it was asked last.
func (p *play) flagged(addr netip.Addr) bool {
	c := p.last.Load()
	return c != nil && c.covers(addr)
}

func (c *counts) covers(addr netip.Addr) bool {
	return slices.ContainsFunc(c.flagged, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// among counts the flagged among n attackers.
func (c *counts) among(n int, attacker func(int) netip.Addr) (flagged int) {
	for i := range n {
		if c.covers(attacker(i)) {
			flagged++
		}
	}
	return flagged
}

// guessing is the first act.
func (p *play) guessing(ctx context.Context) error {
	p.screen.title(fmt.Sprintf("1. %d sources guess passwords: %d IPv4 addresses and %d IPv6 /64s, over SMTP and IMAP",
		guessers, guessers-guessers/5, guessers/5))
	return p.act(ctx, func(c counts) []string {
		return []string{
			"flagged  " + p.screen.bar(c.among(guessers, guesser), guessers),
			fmt.Sprintf("guesses  %d answered, %d right", p.guess.answered.Load(), p.guess.succeeded.Load()),
			fmt.Sprintf("at XDP   %d packets dropped, %d connections unanswered, %d sessions closed",
				c.dropped, p.guess.silent.Load(), p.guess.closed.Load()),
			p.good.line(),
		}
	}, func() {
		swarm(ctx, guessers, 20*time.Second, func(ctx context.Context, i int) {
			insist(ctx, p.lab, &p.guess, guesser(i), p.flagged, func(ctx context.Context) { guess(ctx, p.lab, &p.guess, i) })
		})
	})
}

// stolen is the second act.
func (p *play) stolen(ctx context.Context) error {
	p.screen.title(fmt.Sprintf("2. %s's password is stolen: spam from %d addresses, and no login fails", stolenUser, thieves))
	return p.act(ctx, func(c counts) []string {
		return []string{
			"flagged  " + p.screen.bar(c.among(thieves, thief), thieves),
			fmt.Sprintf("spam     %d messages taken by Postfix, %d sessions closed, %d connections unanswered",
				p.spam.succeeded.Load(), p.spam.closed.Load(), p.spam.silent.Load()),
			p.good.line(),
		}
	}, func() {
		swarm(ctx, thieves, 12*time.Second, func(ctx context.Context, i int) {
			insist(ctx, p.lab, &p.spam, thief(i), p.flagged, func(ctx context.Context) { spam(ctx, p.lab, &p.spam, i) })
		})
	})
}

// act runs an attack and shows the figures until it is over.
func (p *play) act(ctx context.Context, figures func(counts) []string, attack func()) error {
	over := make(chan struct{})
	go func() {
		defer close(over)
		attack()
	}()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for last := false; ; {
		c, err := p.counts(ctx)
		if err != nil {
			<-over
			return err
		}
		p.screen.live(last, figures(c)...)
		if last {
			return ctx.Err()
		}
		select {
		case <-over:
			last = true
		case <-tick.C:
		}
	}
}

// closing lets weir tell in its own words, sums up, and checks the promise.
func (p *play) closing(ctx context.Context) error {
	p.good.stop()
	err := lab.Poll(ctx, lab.Patience, "delivery of the last good mail", func() bool { return p.good.delivered() >= p.good.sent() })
	if err != nil {
		return err
	}
	p.good.readOnce(goodAddresses[0])
	for _, c := range []struct {
		head int
		args []string
	}{{9, []string{"list"}}, {40, []string{"explain", lab.SourceText(guesser(0))}}} {
		out, err := p.weir.Run(ctx, c.args...)
		if err != nil {
			return err
		}
		p.screen.title("$ weir " + strings.Join(c.args, " "))
		p.excerpt(out, c.head)
	}
	c, err := p.counts(ctx)
	if err != nil {
		return err
	}
	p.summary(c)
	err = p.promise(c)
	if err != nil {
		p.circumstances(ctx)
	}
	return err
}

// excerpt shows the first lines of a command's output.
func (p *play) excerpt(out string, lines int) {
	all := strings.Split(strings.TrimRight(out, "\n"), "\n")
	for _, line := range all[:min(lines, len(all))] {
		if runes := []rune(line); len(runes) > p.screen.width-3 {
			line = string(runes[:p.screen.width-4]) + "…"
		}
		p.screen.say("  %s", line)
	}
	if len(all) > lines {
		p.screen.say("  … and %d lines more", len(all)-lines)
	}
}

func (p *play) summary(c counts) {
	median, longest := p.guess.reactions()
	say := p.screen.say
	p.screen.title("In figures")
	say("  guessers flagged         %d of %d, by themselves or with their net; %d guesses were answered, %d right",
		c.among(guessers, guesser), guessers, p.guess.answered.Load(), p.guess.succeeded.Load())
	say("  reaction                 %.0f ms (median; longest %.0f ms) from the deciding guess to the end of its session",
		median.Seconds()*1000, longest.Seconds()*1000)
	say("  first bad line to drop   %.1f s, in which the first source made its guesses", p.guess.firstDrop().Seconds())
	say("  thief's sources flagged  %d of %d, after %d messages; every login had the right password",
		c.among(thieves, thief), thieves, p.spam.succeeded.Load())
	say("  dropped in the kernel    %d packets; %d connections got no answer", c.dropped, p.guess.silent.Load()+p.spam.silent.Load())
	say("  open sessions closed     %d", p.guess.closed.Load()+p.spam.closed.Load())
	say("  %s's mail             %d sent, %d delivered, %d read by IMAP; slowest submission %.1f s",
		goodUser, p.good.sent(), p.good.delivered(), p.good.seen, p.good.slowest().Seconds())
	if d := p.still.end(); d > time.Second {
		say("  the machine stood still  %.1f s at the longest, and nothing of all this ran meanwhile", d.Seconds())
	}
}

// promise reports every way in which weir did not do its job.
func (p *play) promise(c counts) error {
	var broken []error
	want := func(kept bool, format string, args ...any) {
		if !kept {
			broken = append(broken, fmt.Errorf(format, args...))
		}
	}
	for i := range guessers {
		want(c.covers(guesser(i)), "guesser %s is not flagged", guesser(i))
	}
	for i := range thieves {
		want(c.covers(thief(i)), "thief's source %s is not flagged", thief(i))
	}
	for _, good := range goodAddresses {
		want(!c.covers(good), "%s is flagged, where %s is", good, goodUser)
	}
	want(p.guess.succeeded.Load() == 0, "%d guesses were right", p.guess.succeeded.Load())
	want(p.guess.odd.Load()+p.spam.odd.Load() == 0, "%d connections of flagged sources were served or failed in another way",
		p.guess.odd.Load()+p.spam.odd.Load())
	want(c.dropped > 0, "the kernel dropped nothing")
	want(p.guess.closed.Load() > 0 && p.spam.closed.Load() > 0, "no open session was closed")
	sent, delivered := p.good.sent(), p.good.delivered()
	want(sent > 0 && sent == delivered && delivered == p.good.seen, "of %s's %d messages %d were delivered and %d read", goodUser, sent, delivered, p.good.seen)
	broken = append(broken, p.good.errors()...)
	return errors.Join(broken...)
}
