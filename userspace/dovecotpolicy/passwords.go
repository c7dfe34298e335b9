package dovecotpolicy

import (
	"hash/maphash"
	"net/netip"
	"sync"

	"weir/policy"
)

// passwords remembers which password a user logged in with from a source. If
// that same one is refused there later, and Dovecot does not say why, then the
// password was right a while ago: the database is down, the account disabled,
// or the password changed, and the device does not know yet. None is an
// offence. A guesser who reaches this has the password.
//
// Mechanisms that show Dovecot no password have one hash for all of them; that
// is why the source counts: a stranger is not excused by it.
//
// It is bounded: two generations, the older one of which is forgotten when the
// younger is full.
type passwords struct {
	mu    sync.Mutex
	seed  maphash.Seed
	young map[uint64]uint32
	old   map[uint64]uint32
	size  int // of a generation
}

func newPasswords(size int) *passwords {
	return &passwords{seed: maphash.MakeSeed(), young: make(map[uint64]uint32), size: size}
}

func (p *passwords) key(source netip.Addr, user string) uint64 {
	var h maphash.Hash
	h.SetSeed(p.seed)
	maphash.WriteComparable(&h, policy.SourceOf(source))
	_, _ = h.WriteString(policy.FoldUser(user)) // it never fails
	return h.Sum64()
}

// succeeded notes a login.
func (p *passwords) succeeded(source netip.Addr, user string, password uint32) {
	key := p.key(source, user)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, found := p.young[key]; !found && len(p.young) >= p.size {
		p.old, p.young = p.young, make(map[uint64]uint32)
	}
	p.young[key] = password
}

// wasRight reports whether the user's last login from source was with this
// password.
func (p *passwords) wasRight(source netip.Addr, user string, password uint32) bool {
	if password == 0 || !source.IsValid() {
		return false
	}
	key := p.key(source, user)
	p.mu.Lock()
	defer p.mu.Unlock()
	last, found := p.young[key]
	if !found {
		last = p.old[key]
	}
	return last == password
}
