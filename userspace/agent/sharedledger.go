package agent

import (
	"net/netip"
	"sync"
	"time"

	"weir/policy"
)

// sharedLedger is the ledger as the core and those who answer mail
// servers share it. The core alone changes it, and reads without the
// lock; whoever else reads holds it.
type sharedLedger struct {
	*policy.Ledger
	mu sync.RWMutex
}

func newSharedLedger() *sharedLedger { return &sharedLedger{Ledger: policy.NewLedger()} }

// SetAllow is policy.Ledger.SetAllow.
func (l *sharedLedger) SetAllow(prefixes []netip.Prefix, besides ...policy.Allowed) []policy.Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Ledger.SetAllow(prefixes, besides...)
}

// Put is policy.Ledger.Put.
func (l *sharedLedger) Put(now time.Time, decisions ...policy.Decision) []policy.Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Ledger.Put(now, decisions...)
}

// Enter is policy.Ledger.Enter.
func (l *sharedLedger) Enter(now time.Time, decisions []policy.Decision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Ledger.Enter(now, decisions)
}

// Remove is policy.Ledger.Remove.
func (l *sharedLedger) Remove(target policy.Target, pins, automatic bool) ([]policy.Decision, []policy.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Ledger.Remove(target, pins, automatic)
}

// Expire is policy.Ledger.Expire.
func (l *sharedLedger) Expire(now time.Time) ([]policy.Decision, []policy.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Ledger.Expire(now)
}

// PutListed is policy.Ledger.PutListed.
func (l *sharedLedger) PutListed(decisions ...policy.Decision) []policy.Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Ledger.PutListed(decisions...)
}

// RemoveListed is policy.Ledger.RemoveListed.
func (l *sharedLedger) RemoveListed(prefixes ...netip.Prefix) []policy.Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Ledger.RemoveListed(prefixes...)
}

// standing returns what decides about a source, and what stands on a user, nil
// where nothing does. Any goroutine may call it.
func (l *sharedLedger) standing(source netip.Prefix, user string, now time.Time) (onSource, onUser *policy.Decision) {
	l.mu.RLock()
	onSource = l.Deciding(source)
	if user != "" {
		onUser = l.OnUser(user)
	}
	l.mu.RUnlock()
	if onSource != nil && onSource.Ended(now) {
		onSource = nil
	}
	if onUser != nil && onUser.Ended(now) {
		onUser = nil
	}
	return onSource, onUser
}
