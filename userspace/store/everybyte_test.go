package store

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"weir/policy"
)

var every = flag.Int("every", 5, "TestEveryByte damages a small store at every so manieth byte; 1: all")

// mustSmall writes a store as small as may be that has a record of every kind
// that there is, and a removed one.
func mustSmall(t *testing.T) (file []byte, now, before map[Key]policy.Decision, checkpoint []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weir.db")
	s := mustOpen(t, path)
	on := func(prefix string, d policy.Decision) policy.Decision {
		d.Prefix, d.Since, d.Pinned, d.By = netip.MustParsePrefix(prefix), epoch, true, "root"
		return d
	}
	of := func(user string, d policy.Decision) policy.Decision {
		d.User, d.Since = user, epoch
		return d
	}
	counts := mustWriteCounts(t, s, []byte("counts")) // the file of which no copy has
	mustCommit(t, s, Batch{Checkpoint: [][]byte{[]byte("positions and joins")}, Counts: counts, Put: []policy.Decision{
		pin(1), pin(3), pin(7), automatic(2), automatic(3), automatic(4), // IPv4 and IPv6, without and with observations
		on("198.51.100.0/24", policy.Decision{Action: policy.Limit, Rate: policy.Rate{Every: time.Minute, Burst: 2, Bytes: 64 << 10}}),
		on("2001:db8::/32", policy.Decision{Action: policy.Allow, Until: epoch.Add(time.Hour)}),
		on("203.0.113.0/25", policy.Decision{Action: policy.Tarpit, Reason: "a net"}),
		of("anna@example.org", policy.Decision{Action: policy.Guard, Until: epoch.Add(time.Hour), Rule: "stolen"}),
		of("bert@example.org", policy.Decision{Action: policy.Defer, Rule: "quota"}),
		of("news@example.org", policy.Decision{Action: policy.OwnQuota, Pinned: true, Quota: &policy.Quota{
			Recipients: []policy.QuotaSpan{{Count: 300, Within: time.Hour, Burst: 20}}, Messages: []policy.QuotaSpan{},
		}}),
	}})
	before = mustDecisions(t, s)
	gone := pin(7)
	mustCommit(t, s, Batch{Remove: []Key{KeyOf(&gone)}})
	now = mustDecisions(t, s)
	checkpoint, err := s.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if file, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return file, now, before, checkpoint
}

// TestEveryByte flips every byte of a small store, and cuts it at every byte.
// Either all is there, or it is said what is lost, the damaged file is set
// aside, and everything else is there.
func TestEveryByte(t *testing.T) {
	if _, err := os.Stat("/dev/shm"); err == nil {
		t.Setenv("TMPDIR", "/dev/shm") // a disk is slow to make durable what is looked at once
	}
	file, now, before, checkpoint := mustSmall(t)
	damages := 0
	for at := 0; at < len(file) && !t.Failed(); at += *every {
		flipped := bytes.Clone(file)
		flipped[at] ^= 1 << (at % 8)
		checkDamaged(t, "flip at "+strconv.Itoa(at), flipped, now, before, checkpoint)
		inverted := bytes.Clone(file)
		inverted[at] ^= 0xff
		checkDamaged(t, "inverted at "+strconv.Itoa(at), inverted, now, before, checkpoint)
		damages += 2
		if at > 0 { // what is cut to nothing is a store that was emptied
			checkDamaged(t, "cut to "+strconv.Itoa(at), file[:at], now, before, checkpoint)
			damages++
		}
	}
	t.Logf("%d damages to a store of %d bytes and %d records", damages, len(file), len(now)+1)
}
