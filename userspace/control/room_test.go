package control

import (
	"net"
	"testing"
)

// TestRoom is who finds a place, and whose.
func TestRoom(t *testing.T) {
	r := newRoom(nil, roles{}, 4, nil, nil)
	comes := func(as role) *guest { return &guest{UnixConn: &net.UnixConn{}, room: r, peer: peer{role: as}} }
	enters := func(name string, g *guest, want bool, goes *guest) {
		t.Helper()
		if got := r.enter(g); got != want {
			t.Errorf("%s: enters %t", name, got)
		}
		if goes != nil && !goes.left {
			t.Errorf("%s: the one that was silent longest is still there", name)
		}
	}
	reader1, reader2, reader3 := comes(reader), comes(stranger), comes(reader)
	enters("a reader", reader1, true, nil)
	enters("a stranger", reader2, true, nil)
	enters("beyond half of the places", reader3, true, reader1)
	operator1, operator2, operator3, operator4 := comes(operator), comes(operator), comes(operator), comes(operator)
	enters("an operator", operator1, true, nil)
	enters("another", operator2, true, nil)
	enters("when it is full", operator3, true, reader2)
	enters("again", operator4, true, reader3)
	enters("a reader among operators", comes(reader), false, nil)
	answered := r.asks(operator1)
	enters("an operator among operators", comes(operator), true, operator2)
	if operator1.left {
		t.Error("one that was being answered is gone")
	}
	answered()
	if r.open != 4 || r.others != 0 || r.silent[true].Len() != 4 || r.silent[false].Len() != 0 {
		t.Errorf("%d are there, %d of them no operators; %d and %d are silent", r.open, r.others, r.silent[true].Len(), r.silent[false].Len())
	}
}
