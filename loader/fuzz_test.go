package loader

import "testing"

// FuzzFrame: whatever comes, the program leaves by exactly one exit, and it
// drops only by those that drop. exitOf checks the first.
func FuzzFrame(f *testing.F) {
	d := dropped(f)
	mustDo(f, d.Put(Entry{Prefix: prefix("0.0.0.0/0"), Action: ActionLimit, Every: 1, Burst: 1}))
	headers := []extension{{kind: protoHopByHop}, {kind: protoRouting, length: 2}, {kind: protoFragment, offset: 1}, {kind: protoAH, length: 4}, {kind: protoDestination}}
	for _, seed := range [][]byte{
		syn4(""), data4("192.0.2.1"), syn6(""), data6("2001:db8::1"),
		ip4{options: 40}.wrap(tcp{words: 15, payload: 100}.bytes()),
		ip4{fragment: moreFragments}.wrap(tcp{}.bytes()[:8]),
		tagged(ip6{extensions: headers}.wrap(tcp{}.bytes()), etherQinQ, etherVLAN),
		eth(etherARP, make([]byte, 46)),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < 14 || len(frame) > 3000 {
			t.Skip("not a frame the kernel would run the program on")
		}
		verdict, exit := exitOf(t, d, frame)
		want := uint32(xdpPass)
		if exit == "dropped" || exit == "over_limit" {
			want = xdpDrop
		}
		if verdict != want {
			t.Errorf("verdict %d by exit %q", verdict, exit)
		}
	})
}
