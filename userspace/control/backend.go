package control

import (
	"context"
	"errors"
	"iter"

	"weir/policy"
)

// ErrNotFound is returned by a Backend that knows nothing of a target.
var ErrNotFound = errors.New("no decision found")

// Backend is the agent as the operator's commands see it. Its methods are
// called from many goroutines at once and return when ctx ends. An error's
// text reaches the operator as it is. Who asked for a change is logged by the
// Server.
type Backend interface {
	// Decisions yields what f matches: users by name, then prefixes by
	// address and length (netip.Prefix.Compare). It is consumed at the
	// pace of a client that may be slow or stop in the middle, so it must
	// hold no lock while it yields.
	Decisions(ctx context.Context, f Filter) iter.Seq2[Row, error]

	// Explain tells all that concerns target, which may be inside a wider
	// prefix that is flagged. It returns ErrNotFound if nothing does:
	// no decision, no allow entry, no kernel entry.
	Explain(ctx context.Context, target policy.Target) (*Explanation, error)

	// Status tells how the agent is.
	Status(ctx context.Context) (*Status, error)

	// Pin makes every one of pins stand, replacing an earlier pin of the
	// same target. They are complete and checked: Pinned, By and Since
	// are set, prefixes are in their judged form, actions are allow,
	// limit or drop. When it returns nil they are durable and in force.
	// A bulk request calls it once for every MaxChunk pins.
	Pin(ctx context.Context, pins []policy.Decision) error

	// Unpin lifts the pins of exactly these prefixes, and returns those
	// that had none.
	Unpin(ctx context.Context, prefixes []policy.Target) (missing []policy.Target, err error)

	// Release lifts the automatic decisions on exactly target and lets
	// the counts of its rules start anew. Pins stay. It returns
	// ErrNotFound if no automatic decision stands.
	Release(ctx context.Context, target policy.Target) (*ReleaseResult, error)

	Users
	Holds
}

// MaxChunk is how many pins at most a Backend is given at once.
const MaxChunk = 10_000

// ReleaseResult tells what a release changed.
type ReleaseResult struct {
	Released []Row `json:"released"` // what no longer stands
	Standing []Row `json:"standing"` // what still concerns the target: pins, wider prefixes
}
