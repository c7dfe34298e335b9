package loader

import (
	"fmt"
	"net/netip"
	"time"
)

// Action is what the kernel does to the packets of a source.
type Action uint8

const (
	// ActionAllow lets everything pass, whatever a wider entry says.
	ActionAllow = Action(datapathActionACTION_ALLOW)
	// ActionLimit lets connection openings pass at a rate, data on
	// connections at another, and everything that is neither.
	ActionLimit = Action(datapathActionACTION_LIMIT)
	// ActionDrop lets nothing pass.
	ActionDrop = Action(datapathActionACTION_DROP)
	// ActionTarpit lets nothing pass, and answers openings so that the
	// client believes in a connection and waits, where the interface can
	// send answers (see Attachment.Tarpit).
	ActionTarpit = Action(datapathActionACTION_TARPIT)
)

// Blocks reports whether nothing of a source passes under a.
func (a Action) Blocks() bool { return a == ActionDrop || a == ActionTarpit }

// String names the action.
func (a Action) String() string {
	switch a {
	case ActionAllow:
		return "allow"
	case ActionLimit:
		return "limit"
	case ActionDrop:
		return "drop"
	case ActionTarpit:
		return "tarpit"
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// sourceBits6 is the length of the IPv6 prefix that is one source.
const sourceBits6 = 64

// maxTolerance bounds Every*Burst, so that the kernel's arithmetic on
// nanoseconds cannot overflow.
const maxTolerance = 10 * 365 * 24 * time.Hour

// Entry is one line of the verdict tables: what is in force for a source (an
// IPv4 address or an IPv6 /64) or for a wider prefix.
//
// An entry of a source concerns every packet to a protected port. A wider one
// concerns connection openings, what follows them on connections that it
// tarpits, and data if it limits bytes. The source's own entry comes first,
// then the longest prefix still in force.
type Entry struct {
	// Prefix is masked when put. IPv6 prefixes longer than /64 are errors,
	// as are IPv4-mapped ones.
	Prefix netip.Prefix

	Action Action

	// Keep says that the entry is not to make room for others when its table
	// is full. An entry without end never does.
	Keep bool

	// Expires is when the kernel stops honouring the entry, never before it
	// and at most 1.08 s behind it, for prefixes and limits a tick (at most
	// 10 ms); zero is never, and so is an end more than nine years after
	// the start of the machine. It is kept in the kernel's monotonic time:
	// steps of the wall clock after Put do not move the end. Read back it
	// may be that much later.
	Expires time.Time

	// Every and Burst are the rate of ActionLimit: one connection opening
	// each Every, and Burst of them at once (at least 1). A prefix shares
	// one rate among all its addresses. An Every below a tick needs a
	// Burst that covers one. Both zero is any number of openings.
	Every time.Duration
	Burst int

	// Bytes is how many bytes of TCP data a second ActionLimit lets through
	// on all connections of the source together, MinBytes to MaxBytes; zero
	// is any number. Segments beyond it are dropped, so that the sender's
	// TCP slows down by itself. A prefix shares it among all its addresses.
	Bytes int64

	// Attempts counts connection openings (SYN), Dropped counts packets
	// that this entry dropped, each up to 4,294,901,760 for a source that
	// is not limited. Of such sources a CPU counts the first 64 packets of
	// a tick each, and then draws one in 128: of n packets in such ticks
	// both then miss by the root of 127 n (standard error). Read only: Put
	// ignores them.
	Attempts uint64
	Dropped  uint64
}

func (e *Entry) validate() error {
	if err := validatePrefix(e.Prefix); err != nil {
		return err
	}
	switch e.Action {
	case ActionAllow, ActionDrop, ActionTarpit:
	case ActionLimit:
		switch {
		case e.Bytes != 0 && (e.Bytes < MinBytes || e.Bytes > MaxBytes):
			return fmt.Errorf("%w: %s: limit of %d bytes a second: must be %d to %d", ErrInvalidEntry, e.Prefix, e.Bytes, MinBytes, int64(MaxBytes))
		case e.Bytes != 0 && e.Every == 0 && e.Burst == 0:
			return nil
		case e.Every <= 0 || e.Burst < 1:
			return fmt.Errorf("%w: %s: limit of one opening each %s, burst %d: both must be positive", ErrInvalidEntry, e.Prefix, e.Every, e.Burst)
		}
		if e.Every > maxTolerance || e.Burst > int(maxTolerance/e.Every) {
			return fmt.Errorf("%w: %s: limit of one opening each %s, burst %d: burst takes more than %s to refill", ErrInvalidEntry, e.Prefix, e.Every, e.Burst, maxTolerance)
		}
	default:
		return fmt.Errorf("%w: %s: unknown %s", ErrInvalidEntry, e.Prefix, e.Action)
	}
	return nil
}

func validatePrefix(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return fmt.Errorf("%w: not a prefix", ErrInvalidEntry)
	case p.Addr().Is4In6():
		return fmt.Errorf("%w: %s: IPv4-mapped addresses do not occur in packets, use the IPv4 prefix", ErrInvalidEntry, p)
	case p.Addr().Is6() && p.Bits() > sourceBits6:
		return fmt.Errorf("%w: %s: an IPv6 source is a /64, a longer prefix cannot be told apart", ErrInvalidEntry, p)
	}
	return nil
}

// toKernel gives the value that stands in a table for e.
func (e *Entry) toKernel(at moment) datapathEntry {
	k := datapathEntry{
		ExpiresNs: at.toKernel(e.Expires),
		Action:    datapathAction(e.Action),
		Bits:      uint16(e.Prefix.Bits()),
	}
	if e.Keep {
		k.Keep = 1
	}
	if e.Action == ActionLimit {
		k.EveryNs = uint64(e.Every)
		k.ToleranceNs = uint64(max(e.Burst-1, 0)) * uint64(e.Every)
		k.Bytes = uint64(e.Bytes)
		k.ByteCost, k.ByteSlackNs = byteRate(e.Bytes)
	}
	return k
}

func fromKernel(p netip.Prefix, k *datapathEntry, at moment) Entry {
	e := Entry{
		Prefix:   p,
		Action:   Action(k.Action),
		Expires:  at.toWall(k.ExpiresNs),
		Attempts: k.Attempts,
		Dropped:  k.Dropped,
		Keep:     k.Keep != 0,
	}
	if e.Action == ActionLimit {
		e.Bytes = int64(k.Bytes)
	}
	if e.Action == ActionLimit && k.EveryNs > 0 {
		e.Every = time.Duration(k.EveryNs)
		e.Burst = int(k.ToleranceNs/k.EveryNs) + 1
	}
	return e
}

// Bounds of Entry.Bytes.
const (
	MinBytes = 1 << 10
	MaxBytes = 1 << 40
)

const (
	// byteShift is how many binary digits of a byte's time are behind the
	// point (BYTE_SHIFT).
	byteShift = 16

	// byteBurst is what may come at once after a pause, as time at the
	// rate: more than the least time after which TCP sends again what was
	// lost (200 ms in Linux), so that what comes due meanwhile is not lost
	// with it. leastBurst is the bytes that it is at least, some full
	// segments.
	byteBurst  = 250 * time.Millisecond
	leastBurst = 8 << 10
)

// byteRate gives what a byte costs and how early it may come, at so many bytes
// a second; zero for any number.
func byteRate(bytes int64) (cost, slackNs uint64) {
	if bytes == 0 {
		return 0, 0
	}
	cost = uint64(time.Second) << byteShift / uint64(bytes)
	return cost, max(uint64(byteBurst), leastBurst*cost>>byteShift)
}

// sameEnd is how far apart two ends may lie and be the same: converting the
// same wall time twice gives values this close.
const sameEnd = uint64(5 * time.Millisecond)

// succeed makes k the successor of old under the same key: counters go on,
// and so does the bucket as long as the rate stays. It reports whether k says
// anything new.
func (k *datapathEntry) succeed(old *datapathEntry) (changed bool) {
	k.Attempts, k.Dropped = old.Attempts, old.Dropped
	if k.EveryNs == old.EveryNs && k.ToleranceNs == old.ToleranceNs {
		k.TatNs = old.TatNs
	}
	if k.Bytes == old.Bytes {
		k.ByteTatNs = old.ByteTatNs
	}
	if old.ExpiresNs != 0 && k.ExpiresNs != 0 && max(k.ExpiresNs, old.ExpiresNs)-min(k.ExpiresNs, old.ExpiresNs) < sameEnd {
		k.ExpiresNs = old.ExpiresNs
	}
	return *k != *old
}
