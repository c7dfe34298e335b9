package faults

import (
	"context"
	"flag"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/tests/lab"
	"weir/userspace/control"
)

var (
	kills = flag.Int("kills", 500, "how often TestKilledUnderLoad kills the agent")
	seed  = flag.Uint64("seed", 1, "of its random moments")
)

// An agent lives for up to lifeInStarts times as long as a start takes here, so
// that starts are hit too, on slow machines as on fast ones.
const lifeInStarts = 2

// TestKilledUnderLoad kills the agent again and again at random moments, while
// a log grows, a mail server asks, and operators pin, unpin, set, reset and
// release: what they were told of is there afterwards, and nothing else is.
func TestKilledUnderLoad(t *testing.T) {
	s := mustStage(t, rules+`
[postfix_policy]
listen = ["unix:LAB/policy.sock"]
[quota]
recipients = ["20/2h"]
`)
	launched := time.Now()
	s.mustStart()
	longest := lifeInStarts * time.Since(launched)
	random := rand.New(rand.NewPCG(*seed, 7))
	b, l := newBook(), newLoad()
	b.pins[pinned4.String()], b.pins[lab.SourceText(pinned6)] = []string{"a test"}, []string{"a test"}
	l.guessers[guesser4.String()], l.whole[guesser4.String()] = true, true
	s.mustLog(failure(guesser4) + failure(guesser4) + failure(guesser4))
	s.mustPoll(lab.Patience, "the guesser to be dropped", func() bool {
		_, decisions, err := listed(t.Context(), s.client)
		return err == nil && len(decisions) == 1 && decisions[guesser4.String()].InForce
	})
	s.mustPin(pinned4, pinned6) // once that is durable, what was decided before is
	probes := []*lab.Probe{s.mustProbe(pinned4), s.mustProbe(pinned6), s.mustProbe(guesser4)}
	s.mustKill()

	ctx, stop := context.WithCancel(t.Context())
	var beside sync.WaitGroup
	defer beside.Wait()
	defer stop()
	beside.Go(func() { l.guess(ctx, t, s.lab.MailLog(), rand.New(rand.NewPCG(*seed, 8))) })
	beside.Go(func() { l.ask(ctx, s.lab.Path("policy.sock"), rand.New(rand.NewPCG(*seed, 9))) })

	k := &killing{stage: s, book: b, load: l, counters: map[string]uint64{}}
	begun := time.Now()
	for n := range *kills {
		k.round(time.Duration(random.Int64N(int64(longest))), rand.New(rand.NewPCG(*seed, uint64(100+n))))
		if t.Failed() {
			t.Fatalf("after %d kills", n+1)
		}
	}
	took := time.Since(begun)
	stop()
	beside.Wait()

	s.mustStart()
	k.settled()
	var sent uint64
	for _, p := range probes {
		sent += p.Sent()
		if p.Through() != 0 {
			t.Errorf("%d packets of %d got through", p.Through(), p.Sent())
		}
	}
	t.Logf("seed %d: %d kills in %v, lives of up to %v, %d of them before the agent answered; %d changes acknowledged, %d under way; %d sources in the log, %d answers; %d packets, none through",
		*seed, *kills, took.Round(time.Second), longest.Round(time.Millisecond), k.early, b.acks, b.unsure, len(l.guessers), l.answers, sent)
	if b.acks < *kills/5 || b.unsure == 0 || len(b.released) == 0 && *kills > 50 {
		t.Errorf("too little went on to show anything: %d changes acknowledged, %d under way, %d released", b.acks, b.unsure, len(b.released))
	}
	// The probes were able to get through all the time.
	if err := unpin(t.Context(), s.client, pinned4.String()); err != nil {
		t.Fatal(err)
	}
	if s.mustKnock(probes[0], 100) == 0 {
		t.Error("the unpinned probe is not seen")
	}
}

// killing is what one agent after the other is held to.
type killing struct {
	*stage
	book     *book
	load     *load
	counters map[string]uint64 // the kernel's, as they were seen last
	early    int
}

// round lets one agent live that long.
func (k *killing) round(life time.Duration, random *rand.Rand) {
	ctx, end := context.WithCancel(k.Context())
	defer end()
	if err := k.weir.Launch(); err != nil {
		k.Fatal(err)
	}
	death := time.After(life)
	var clients sync.WaitGroup
	clients.Go(func() { k.live(ctx, random) })
	<-death
	k.mustKill()
	end()
	clients.Wait()
}

// live waits for the agent, holds it to the book, and uses it until it dies.
func (k *killing) live(ctx context.Context, random *rand.Rand) {
	c := control.NewClient(k.lab.Path("control.sock"), "faults")
	defer c.Close()
	if err := lab.Poll(ctx, lab.Patience, "the agent", func() bool {
		status, err := c.Status(ctx)
		return err == nil && status.PID == k.weir.PID()
	}); err != nil {
		k.early++
		return
	}
	pins, decisions, err := listed(ctx, c)
	if err != nil {
		return
	}
	for _, w := range k.book.check(pins, decisions, k.load) {
		k.Error(w)
	}
	before := k.book.acks
	var users sync.WaitGroup
	more := rand.New(rand.NewPCG(random.Uint64(), 1))
	users.Go(func() { k.report(k.book.pinAndUnpin(ctx, c, random)) })
	users.Go(func() { k.report(k.book.setAndRelease(ctx, c, more)) })
	users.Go(func() { k.watch(ctx, c) })
	users.Wait()
	if k.book.acks > before {
		k.book.promise(decisions)
	}
}

// report tells of what no dying agent says.
func (k *killing) report(err error) {
	if err != nil && strings.Contains(err.Error(), "is gone") {
		k.Error(err)
	}
}

// watch asks how the agent is, and wants no counter to go back: the kernel's
// own over all agents' lives, the agent's within one.
func (k *killing) watch(ctx context.Context, c *control.Client) {
	var last *control.Status
	for ctx.Err() == nil {
		status, err := c.Status(ctx)
		if err != nil {
			return
		}
		for _, n := range status.Counters {
			if n.Packets < k.counters[n.Name] {
				k.Errorf("counter %s went from %d back to %d", n.Name, k.counters[n.Name], n.Packets)
			}
			k.counters[n.Name] = n.Packets
		}
		if last != nil && (status.Intakes[0].Lines < last.Intakes[0].Lines || status.Intakes[0].Events < last.Intakes[0].Events ||
			status.ReadBack.Checks < last.ReadBack.Checks) {
			k.Errorf("the agent's counters went back: %+v, then %+v", last, status)
		}
		last = status
		pause(ctx, 10*time.Millisecond)
	}
}

// settled wants exactly what the log and the operators give, when all is read.
func (k *killing) settled() {
	k.Helper()
	want := map[string]bool{}
	pins, decisions := k.mustLists()
	for _, w := range k.book.check(pins, decisions, k.load) {
		k.Error(w)
	}
	for target, third := range k.load.guessers {
		if third && k.load.whole[target] && !k.book.released[target] {
			want[target] = true
		}
	}
	k.mustPoll(lab.Patience, "the rest of the log to be read", func() bool {
		pins, decisions = k.mustLists()
		missing := 0
		for target := range want {
			if _, stands := decisions[target]; !stands {
				missing++
			}
		}
		return missing == 0
	})
	for _, w := range k.book.check(pins, decisions, k.load) {
		k.Error(w)
	}
	k.Logf("%d decisions and %d pins stand, %d were released", len(decisions), len(pins), len(k.book.released))
}

func (k *killing) mustLists() (pins, decisions map[string]control.Row) {
	k.Helper()
	pins, decisions, err := listed(k.Context(), k.client)
	if err != nil {
		k.Fatal(err)
	}
	return pins, decisions
}
