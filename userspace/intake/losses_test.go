package intake

import (
	"os"
	"testing"
)

func TestFollowLosses(t *testing.T) {
	tests := map[string]struct {
		run    func(h *host)
		reason string
	}{
		"truncated without copy": {func(h *host) {
			h.write("a")
			h.check()
			h.truncate()
			h.poll()
			h.write("b")
			h.check()
		}, lostTruncated},
		"truncated and soon longer than before": {func(h *host) {
			h.write("a")
			h.check()
			h.truncate()
			h.write("b", "c")
			h.check()
		}, lostTruncated},
		"removed while not followed": {func(h *host) {
			h.write("a")
			h.check()
			h.stop()
			h.tick()
			mustDo(h.t, os.Remove(h.path))
			h.reopen()
			h.write("b")
			h.check()
		}, lostGone},
		"removed while not followed, younger ones are there": {func(h *host) {
			h.check()
			h.rename(false)
			h.tick()
			h.reopen()
			h.write("a")
			h.check()
			h.stop()
			h.tick()
			mustDo(h.t, os.Remove(h.path))
			h.reopen()
			h.write("b")
			h.rename(true)
			h.tick()
			h.reopen()
			h.write("c")
			h.check()
		}, lostGone},
		"unreadable compression": {func(h *host) {
			h.write("a")
			h.check()
			h.stop()
			h.tick()
			h.rename(true)
			mustDo(h.t, os.WriteFile(h.names(1)+".xz", []byte("?"), 0o600))
			h.stamp(h.names(1) + ".xz")
			mustDo(h.t, os.Rename(h.names(1), h.names(2)))
			h.reopen()
			h.write("b")
			h.check()
		}, lostPacked},
		"damaged gzip": {func(h *host) {
			h.write("a")
			h.check()
			h.stop()
			h.tick()
			h.write("b")
			h.rename(true)
			h.compress(1)
			b := must(os.ReadFile(h.names(1) + ".gz"))(h.t)
			mustDo(h.t, os.WriteFile(h.names(1)+".gz", b[:len(b)-6], 0o600))
			h.poll()
			h.poll()
			h.reopen()
			h.write("c")
			h.check()
		}, lostDamaged},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.write("before")
			tt.run(h)
			s := h.m.stats()
			if s.Lost != 1 || len(s.Losses) != 1 || s.Losses[0].Reason != tt.reason {
				t.Errorf("losses %+v, want one: %s", s.Losses, tt.reason)
			}
		})
	}
}
