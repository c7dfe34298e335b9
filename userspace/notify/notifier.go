package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options say when notices are sent, and what there is to tell.
type Options struct {
	Describe func(ctx context.Context, user string) (Notice, bool) // false: it is not flagged any more
	Mode     func() string                                         // observe or enforce
	Channels []Channel                                             // by which people are told
	Host     string
	Gather   time.Duration // how long a notice waits before it is sent
	Once     time.Duration // a user is told of once in that time
	Most     int           // notices an hour; more become one digest
	Now      func() time.Time
	Logger   *slog.Logger
}

// DefaultOptions lack the channels, and what there is to tell.
func DefaultOptions() Options {
	return Options{
		Mode: func() string { return "enforce" }, Gather: 30 * time.Second, Once: 24 * time.Hour, Most: 10,
		Now: time.Now, Logger: slog.Default(),
	}
}

// Validate reports what in o cannot work.
func (o *Options) Validate() error {
	switch {
	case o.Describe == nil || o.Mode == nil || o.Now == nil || o.Logger == nil:
		return errors.New("notify: Describe, Mode, Now and Logger must be set")
	case len(o.Channels) == 0:
		return errors.New("notify: no channel")
	case o.Gather <= 0 || o.Once <= 0 || o.Most < 1:
		return errors.New("notify: Gather, Once and Most must be above 0")
	}
	return nil
}

// Channel delivers reports to somebody.
type Channel interface {
	Name() string
	Deliver(ctx context.Context, r *Report) error
}

const (
	digestEvery = time.Hour
	maxDigest   = 50     // users that a digest tells of
	maxWaiting  = 10_000 // users that wait to be told of
	maxKnown    = 100_000
	maxQueue    = 64 // reports that wait for a channel
	tick        = time.Second
)

// Stats counts since the start.
type Stats struct {
	Flagged     uint64 // users, with repetitions
	Reports     uint64 // sent, each by every channel
	Repeated    uint64 // flagged again within Once: not told
	Undelivered uint64 // reports that a channel did not take
}

// Notifier gathers who was flagged and tells of it.
type Notifier struct {
	o Options

	mu      sync.Mutex
	waiting map[string]time.Time // when the notice is due
	unnamed int                  // that had no room there

	told map[string]time.Time // users, and when they were told of; of Run
	held map[string]time.Time // users for the digest; of Run
	sent []time.Time          // of the last hour; of Run

	queues []chan *Report

	flagged, reports, repeated, undelivered atomic.Uint64
}

// New returns a Notifier that sends nothing until Run.
func New(o Options) (*Notifier, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	n := &Notifier{o: o, waiting: make(map[string]time.Time), told: make(map[string]time.Time), held: make(map[string]time.Time)}
	for range o.Channels {
		n.queues = append(n.queues, make(chan *Report, maxQueue))
	}
	return n, nil
}

// Stats may be called at any time.
func (n *Notifier) Stats() Stats {
	return Stats{Flagged: n.flagged.Load(), Reports: n.reports.Load(), Repeated: n.repeated.Load(), Undelivered: n.undelivered.Load()}
}

// Flagged notes that a user was flagged. It does not wait.
func (n *Notifier) Flagged(user string) {
	n.flagged.Add(1)
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, waits := n.waiting[user]; waits {
		return
	}
	if len(n.waiting) >= maxWaiting {
		n.unnamed++
		return
	}
	n.waiting[user] = n.o.Now().Add(n.o.Gather)
}

// Run sends what is due until ctx ends.
func (n *Notifier) Run(ctx context.Context) {
	var channels sync.WaitGroup
	for i := range n.o.Channels {
		channels.Go(func() { n.deliver(ctx, n.o.Channels[i], n.queues[i]) })
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			channels.Wait()
			return
		case <-ticker.C:
			n.look(ctx, n.o.Now())
		}
	}
}

// look sends what is due at now.
func (n *Notifier) look(ctx context.Context, now time.Time) {
	n.sent = slices.DeleteFunc(n.sent, func(at time.Time) bool { return now.Sub(at) >= digestEvery })
	for _, user := range n.due(now) {
		if last, told := n.told[user]; told && now.Sub(last) < n.o.Once {
			n.repeated.Add(1)
			continue
		}
		if len(n.sent) >= n.o.Most || len(n.held) > 0 {
			n.held[user] = now
			continue
		}
		n.send(ctx, now, []string{user}, 0)
	}
	if len(n.held) == 0 {
		return
	}
	oldest := now
	for _, at := range n.held {
		if at.Before(oldest) {
			oldest = at
		}
	}
	if now.Sub(oldest) < digestEvery {
		return
	}
	// By the time at which they were held, so that a digest reads as a story.
	users := slices.SortedFunc(maps.Keys(n.held), func(a, b string) int {
		return cmp.Or(n.held[a].Compare(n.held[b]), cmp.Compare(a, b))
	})
	clear(n.held)
	n.mu.Lock()
	unnamed := n.unnamed
	n.unnamed = 0
	n.mu.Unlock()
	n.send(ctx, now, users, unnamed)
}

// due takes the users whose notice is due, sorted.
func (n *Notifier) due(now time.Time) (users []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for user, at := range n.waiting {
		if !now.Before(at) {
			users = append(users, user)
			delete(n.waiting, user)
		}
	}
	slices.Sort(users)
	return users
}

// send tells of users that are still flagged.
func (n *Notifier) send(ctx context.Context, now time.Time, users []string, unnamed int) {
	r := &Report{Version: 1, Host: n.o.Host, Mode: n.o.Mode(), Time: now, Unnamed: unnamed}
	if len(n.told) >= maxKnown {
		maps.DeleteFunc(n.told, func(_ string, at time.Time) bool { return now.Sub(at) >= n.o.Once })
	}
	for _, user := range users {
		if len(r.Notices) == maxDigest {
			r.Unnamed++
			continue
		}
		notice, flagged := n.o.Describe(ctx, user)
		if !flagged {
			continue
		}
		if len(n.told) < maxKnown {
			n.told[user] = now
		}
		r.Notices = append(r.Notices, notice)
	}
	if len(r.Notices) == 0 {
		return
	}
	n.sent = append(n.sent, now)
	n.reports.Add(1)
	for i, queue := range n.queues {
		select {
		case queue <- r:
		default:
			n.undelivered.Add(1)
			n.o.Logger.Error("a notice is lost: too many wait", "by", n.o.Channels[i].Name(), "users", len(r.Notices))
		}
	}
}

// deliver hands reports to a channel until ctx ends.
func (n *Notifier) deliver(ctx context.Context, c Channel, queue <-chan *Report) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-queue:
			if err := c.Deliver(ctx, r); err != nil {
				n.undelivered.Add(1)
				n.o.Logger.Error("a notice could not be delivered", "by", c.Name(), "users", len(r.Notices), "error", err)
				continue
			}
			n.o.Logger.Info("notice sent", "by", c.Name(), "about", about(r))
		}
	}
}

func about(r *Report) string {
	if len(r.Notices) == 1 {
		return r.Notices[0].User
	}
	return fmt.Sprintf("%d users", len(r.Notices)+r.Unnamed)
}
