package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weir/loader"
	"weir/policy"
	"weir/userspace/enforce"
	"weir/userspace/intake"
	"weir/userspace/maillog"
	"weir/userspace/store"
)

// core is the state that decisions are made from. One goroutine at a time touches
// it, who has the turn: see do.
type core struct {
	*pipeline
	a         *Agent
	enforcer  *enforce.Enforcer // nil in mode observe
	positions map[string]intake.Position
	turn      chan struct{} // has an element while nobody has the turn
	wake      chan struct{} // has an element if there is a checkpoint under way
	stopped   chan struct{} // there are no turns any more

	protected []policy.Allowed // who is, besides the configuration's allow list

	changes   []policy.Change   // of the batch at hand
	decided   []policy.Decision // of the batch at hand, to be logged
	dirty     bool              // something was read since the last checkpoint
	saved     time.Time         // when the last checkpoint was taken
	pause     time.Duration     // until the next one
	saving    *saving           // the checkpoint under way, nil if none is
	next      *saving           // the one after it, nil if none is wanted
	bound     bool              // the change at hand is bound to a checkpoint
	reconcile time.Time         // when the table is compared next
	failures  int               // of enforcing, in a row
	readBack  readBack
	unstored  unstored
	counts    decisionCounts
	inputs    map[string]*understanding
	input     *understanding // whose batch is at hand
	heard     understanding  // what came from elsewhere
	requested understanding  // what mail servers asked about
	puzzled   uint64         // lines that the parser has not understood so far
}

// understanding is what became of the records of one input.
type understanding struct {
	events        uint64
	notUnderstood uint64 // lines that name a client and fit no pattern
	sample        string // the newest of those
}

// decisionCounts are what became of the engine's decisions since the start.
type decisionCounts struct {
	made  uint64 // new ones
	known uint64 // made before a restart, and made again when the log was read again
	late  uint64 // whose end had passed when their record was read
}

const (
	tickTime        = time.Second
	checkpointEvery = 30 * time.Second
	checkpointShare = 500             // of the time, one part goes into taking checkpoints at most
	auditEvery      = 5 * time.Minute // comparing the kernel's table with the ledger
	reconcileRetry  = 5 * time.Second // after enforcing failed; doubled each time
	reconcileMost   = 5 * time.Minute // at most
	fewEnded        = 100             // more that end together are not logged one by one
)

var errStopped = errors.New("the agent is stopping")

// do runs f, which may touch the core, once it is f's turn, and returns when it has
// ended. It fails only if there are no turns any more, or ctx ends before it comes.
//
// Turns are given in the order in which they were asked for. f runs in the caller's
// goroutine: nothing is handed to another one for every batch of lines.
func (c *core) do(ctx context.Context, f func()) error {
	select {
	case <-c.turn:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.stopped:
		return errStopped
	}
	defer c.pass()
	f()
	return nil
}

// pass ends a turn.
func (c *core) pass() {
	if c.saving != nil {
		signal(c.wake)
	}
	c.turn <- struct{}{}
}

// run does what nobody asks for: what is due, what the judge tells, and the
// checkpoint under way, a slice a turn. It ends with ctx, and turns end with it.
func (c *core) run(ctx context.Context) {
	defer close(c.stopped)
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	for {
		var next func()
		select {
		case <-ctx.Done():
			<-c.turn
			return
		case <-c.a.judge.Tells():
			next = c.takeTold
		case <-tick.C:
			next = c.tick
		case <-c.wake:
			next = c.goOn
		}
		<-c.turn
		next()
		c.pass()
	}
}

// goOn takes the checkpoint under way a slice further.
func (c *core) goOn() {
	if c.saving != nil {
		c.slice(1)
	}
}

// consume takes a batch of records of one input.
func (c *core) consume(input string, batch []intake.Record, after intake.Position) {
	if c.inputs[input] == nil {
		c.inputs[input] = &understanding{}
	}
	c.takeTold() // requests come before the lines that were written after them
	c.input = c.inputs[input]
	if c.told != nil {
		c.told.input = c.input
	}
	c.read(batch, c)
	if c.parser.NotUnderstood() != c.puzzled {
		s := c.parser.Stats()
		c.input.notUnderstood += s.NotUnderstood - c.puzzled
		c.input.sample, c.puzzled = maillog.HideSecrets(s.Sample), s.NotUnderstood
	}
	c.apply()
	c.tell()
	_, known := c.positions[input]
	c.positions[input] = after
	c.dirty = true
	if !known { // or a crash would begin it at its end once more
		c.checkpoint()
	}
}

// tell logs what was decided, after it is in force: whoever takes the log may
// be slow.
func (c *core) tell() {
	for i := range c.decided {
		d := &c.decided[i]
		c.a.log.Info("decision", "target", d.Target.String(), "action", d.Action.String(), "until", until(d),
			"rule", d.Rule, "offence", d.Offence, "reason", d.Reason, "allowed", allowed(c.ledger.Ledger, d))
	}
	clear(c.decided)
	c.decided = c.decided[:0]
}

// event implements observer.
func (c *core) event(e *policy.Event) {
	c.input.events++
	if c.input != &c.requested {
		c.logs(e)
	}
	switch e.Kind {
	case policy.AuthFailure:
		c.a.suspects.note(policy.SourceOf(e.Source), e.Time)
		c.ask(e)
	case policy.AuthSuccess:
		c.ask(e)
	}
}

// decision implements observer.
func (c *core) decision(d *policy.Decision) {
	if c.a.o.decided != nil {
		c.a.o.decided(d)
	}
	if d.Action == policy.Release {
		c.release(d)
		return
	}
	now := c.a.o.Now()
	if d.Ended(now) {
		c.counts.late++
		return
	}
	if _, before := c.ledger.Get(d.Target); before != nil && known(before, d) {
		c.counts.known++
		return
	}
	c.counts.made++
	sample := d.Evidence.Sample
	d.Evidence.Sample = nil
	c.changes = append(c.changes, c.ledger.Put(now, *d)...)
	_, stands := c.ledger.Get(d.Target)
	stored := *stands
	stored.Evidence.Sample = sample // of which the ledger would have a million
	c.a.writer.put(&stored)
	c.stand(d.Target)
	c.decided = append(c.decided, *d)
	c.a.flagged(d)
}

// release lifts what the engine takes back, unless something later stands.
func (c *core) release(d *policy.Decision) {
	if _, before := c.ledger.Get(d.Target); before == nil || before.Since.After(d.Since) {
		c.counts.known++
		return
	}
	removed, changes := c.ledger.Remove(d.Target, false, true)
	c.changes = append(c.changes, changes...)
	for i := range removed {
		c.a.writer.remove(store.KeyOf(&removed[i]))
	}
	c.counts.made++
	c.decided = append(c.decided, *d)
}

// known reports whether d, made from a record that is read again, is what
// stands already or has been overtaken by it.
func known(stands, d *policy.Decision) bool {
	if stands.Rule == enforce.RecoveredRule {
		return outlasts(stands, d)
	}
	if !stands.Since.Equal(d.Since) {
		return stands.Since.After(d.Since)
	}
	return stands.Rule == d.Rule && stands.Action == d.Action && stands.Until.Equal(d.Until)
}

// apply has the kernel do what changed.
func (c *core) apply() error {
	changes := c.changes
	c.changes = nil
	return c.enforce(changes)
}

func (c *core) enforce(changes []policy.Change) error {
	err := c.remedied(c.enforcer.Apply(changes))
	if err != nil {
		c.enforceFailed(err)
	}
	return err
}

// remedied adds to an error of enforcing what the operator can do about it.
func (c *core) remedied(err error) error {
	if errors.Is(err, loader.ErrFull) {
		current := c.a.current()
		return fmt.Errorf("%w; raise entries (now %d) below [limits] in %s and restart weir, or unpin or release what is not needed; what has no room passes",
			err, current.Entries, current.Path)
	}
	return err
}

// enforceFailed has the table compared soon, later and later.
func (c *core) enforceFailed(err error) {
	wait := min(reconcileRetry<<min(c.failures, 10), reconcileMost)
	c.failures++
	c.reconcile = c.a.o.Now().Add(wait)
	c.a.log.Error("not everything that was decided is in force; this is tried again", "error", err, "in", wait)
}

// compare puts the kernel's table right.
func (c *core) compare() {
	report, err := c.enforcer.Reconcile(c.inForce())
	if err != nil {
		c.enforceFailed(c.remedied(err))
		return
	}
	if c.failures == 0 && report.Put+report.Deleted > 0 {
		c.a.log.Warn("the kernel's table was not as it was left, and was put right",
			"missing_or_different", report.Put, "unknown", report.Deleted)
		c.readBack.tableDiffered(c.a.o.Now(), report)
	} else if c.failures > 0 {
		c.a.log.Info("everything that was decided is in force again", "put", report.Put, "deleted", report.Deleted)
	}
	c.failures = 0
	c.reconcile = c.a.o.Now().Add(auditEvery)
}

// tick does what is due.
func (c *core) tick() {
	now := c.a.o.Now()
	c.settle(now, false)
	c.expire(now)
	c.forgetUnstored(now)
	c.lookAtKernel(now)
	if c.enforcer != nil && !now.Before(c.reconcile) {
		c.compare()
	}
	if c.dirty && c.saving == nil && now.Sub(c.saved).Abs() >= c.pause {
		c.checkpoint()
	}
	c.a.rates.tick(c.a, now)
	c.a.notifier.alive(now, c.a.statusLine())
}

// expire ends what has ended.
func (c *core) expire(now time.Time) {
	ended, changes := c.ledger.Expire(now)
	if len(ended) == 0 {
		return
	}
	keys := make([]store.Key, len(ended))
	for i := range ended {
		d := &ended[i]
		keys[i] = store.KeyOf(d)
		c.stand(d.Target)
		if len(ended) <= fewEnded {
			c.a.log.Info("decision ended", "target", d.Target.String(), "action", d.Action.String(), "rule", d.Rule, "pinned", d.Pinned)
		}
	}
	if len(ended) > fewEnded {
		c.a.log.Info("decisions ended", "count", len(ended))
	}
	// What shows up from under an ended decision is put before the ended
	// entries go; the kernel itself stopped honouring those on time.
	_ = c.enforce(changes) // said and tried again there
	c.a.writer.remove(keys...)
}

// redo has everything that stands written again, into a store that was
// salvaged, but for what it still holds with its evidence.
func (c *core) redo(salvaged *store.Store) {
	whole := make(map[*policy.Decision]bool)
	for d, err := range salvaged.Decisions() {
		if err != nil {
			break // writing finds the same, and opens it again
		}
		if _, stands := c.ledger.Get(d.Target); !d.Pinned && stands != nil && stands.Since.Equal(d.Since) && known(stands, &d) {
			whole[stands] = true
		}
	}
	for d := range c.ledger.All() {
		if !d.Listed && !whole[d] { // lists are read from their files
			c.a.writer.put(d)
		}
	}
	c.checkpoint()
}
