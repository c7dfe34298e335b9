package intake

import (
	"fmt"
	"os"
	"testing"
)

// newDaily is a host that writes a file for each day, and never one with the
// log's own name.
func newDaily(t testing.TB) (h *host, next func()) {
	h = newHost(t)
	day := 20
	next = func() {
		h.path = fmt.Sprintf("%s.2026-11-%02d", h.o.Path, day)
		day++
		h.tick()
		h.reopen()
	}
	next()
	return h, next
}

func TestFollowDaily(t *testing.T) {
	h, next := newDaily(t)
	h.write("a")
	h.check()
	if s := h.m.stats(); s.State != StateFollowing || s.Error != "" {
		t.Errorf("told as %+v", s)
	}
	h.write("b")
	next()
	h.check()
	h.write("c")
	h.check()
	h.stop()
	h.write("d")
	next()
	h.write("e")
	next()
	h.check()
	h.write("f")
	h.check()
	mustDo(t, os.Remove(h.o.Path+".2026-11-20"))
	h.write("g")
	h.check()
	if h.lost() != 0 {
		t.Errorf("losses counted though nothing was lost: %+v", h.m.stats())
	}
}

// The days before the first start are none of ours.
func TestFollowDailyFirstStart(t *testing.T) {
	h, next := newDaily(t)
	h.o.FromStart = false
	h.write("old")
	next()
	h.write("older than the start")
	h.poll()
	h.equal(nil)
	h.wrote = nil
	h.write("a")
	h.check()
	next()
	h.write("b")
	h.check()
}
