package policy

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"testing"
	"time"
	"unsafe"
)

// TestMemoryOfASource holds what docs/decisions/policy-engine.md says.
func TestMemoryOfASource(t *testing.T) {
	state := unsafe.Sizeof(sourceState{}) + 1 // its note
	const index = 8 * 2                       // a slot of eight bytes, half of which are used as the index has just grown
	if got := state + index; got > 128 {
		t.Errorf("a source takes %d bytes and %d in the index", state, index)
	}
	if got := unsafe.Sizeof(observation{}); got != 48 {
		t.Errorf("an observation takes %d bytes", got)
	}
	t.Logf("source %d, user %d, neighbourhood %d, window %d bytes", state, unsafe.Sizeof(userState{}),
		unsafe.Sizeof(net{}), unsafe.Sizeof(window{}))
}

// TestFloodPushesOutStrangersOnly: an attacker sends from ten times as many
// sources as there is room for, and as many invented names. Whoever succeeded
// here, and whoever was flagged, is still known.
func TestFloodPushesOutStrangersOnly(t *testing.T) {
	const room = 4000
	s := newStory(t)
	s.e = mustEngine(t, DefaultRules(), Limits{Sources: room, Users: room, Observations: 100_000, Grace: time.Hour})
	for i := range room / 8 {
		s.tell(time.Duration(i)*time.Second, AuthSuccess, address("198.18.0.0", i), "user"+strconv.Itoa(i), 0)
	}
	bad := 0
	for i := range room / 8 {
		for j := range 10 {
			bad += len(s.tell(time.Duration(i)*time.Second, AuthFailure, address("100.64.0.0", i*300), "x"+strconv.Itoa(j), 0))
		}
	}
	s.out = nil
	for i := range 10 * room {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 0x14000000+uint32(i)*257)
		s.n++
		s.e.Observe(&Event{Time: dawn.Add(time.Hour + time.Duration(i)*time.Millisecond), Kind: AuthFailure, Source: netip.AddrFrom4(b),
			User: "flood" + strconv.Itoa(i), Line: s.n}, nil)
	}
	checkIntact(t, s.e)
	for i := range room / 8 {
		good := SourceOf(netip.MustParseAddr(address("198.18.0.0", i)))
		if n := s.e.find(good, s.e.key.hash(good)); n == 0 || !s.e.sources.at(n).familiar.fresh(s.e.now) {
			t.Fatalf("%v has succeeded and is forgotten", good)
		}
		if u := s.e.userNamed("user" + strconv.Itoa(i)); u == nil || !u.succeeded {
			t.Fatalf("user %d is forgotten", i)
		}
		flagged := SourceOf(netip.MustParseAddr(address("100.64.0.0", i*300)))
		if n := s.e.find(flagged, s.e.key.hash(flagged)); n == 0 || s.e.sources.at(n).offences == 0 {
			t.Fatalf("%v was flagged and is forgotten", flagged)
		}
	}
}

// TestWeighedSnapshotContinues is TestSnapshotContinues with the default rules,
// whose state is more than windows.
func TestWeighedSnapshotContinues(t *testing.T) {
	whole := newDefaultStory(t)
	whole.settle()
	cut := newDefaultStory(t)
	cut.settle()
	for i := range 400 {
		if i%150 == 40 {
			data := snapshot(cut.e)
			cut.e = mustEngine(t, DefaultRules(), DefaultLimits())
			if err := cut.e.UnmarshalBinary(data); err != nil {
				t.Fatal(err)
			}
			if string(snapshot(cut.e)) != string(data) {
				t.Fatal("it is not written as it was read")
			}
		}
		for _, s := range []*story{whole, cut} {
			at := time.Duration(i) * time.Minute
			s.tell(at, AuthFailure, abroad(i%90), townsman(i*7%600), 0)
			s.tell(at, Message, abroad(200+i%5), townsman(i%3), 20)
			s.tell(at, UnknownRecipient, abroad(300+i%20), "", 0)
			s.tell(at, Connection, abroad(400), "", 0)
			s.tell(at, AuthSuccess, townHome(i%600), townsman(i%600), 0)
		}
	}
	if len(whole.out) != len(cut.out) || len(whole.out) < 50 {
		t.Fatalf("%d decisions, %d when it was cut", len(whole.out), len(cut.out))
	}
	for i := range whole.out {
		if a, b := whole.out[i], cut.out[i]; a.Reason != b.Reason || !sameDecision(bare(a), bare(b)) {
			t.Fatalf("decision %d is %+v, %+v when it was cut", i, a, b)
		}
	}
}
