package lab

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"
)

func mustLab(t *testing.T, users ...string) *Lab {
	t.Helper()
	if err := Check(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED: %v", err)
	}
	l, err := New(t.Context(), Options{Users: users})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(l.Dir); err == nil {
			t.Errorf("%s is still there", l.Dir)
		}
	})
	return l
}

// Mail goes in by submission and out by IMAP, and a wrong password is
// refused, over both families, with addresses the clients chose.
func TestMailFlows(t *testing.T) {
	l := mustLab(t, "alice")
	for i, from := range []string{"203.0.113.7", "2001:db8:8000:7::1234"} {
		addr := netip.MustParseAddr(from)
		if err := l.Submit(t.Context(), addr, "alice", "alice@"+Domain, []string{"alice@" + Domain, "x@" + Elsewhere}, "hello"); err != nil {
			t.Fatal(err)
		}
		if err := Poll(t.Context(), Patience, "delivery", func() bool { return l.Delivered("alice") == i+1 }); err != nil {
			t.Fatal(err)
		}
		subjects, err := l.Subjects(t.Context(), addr, "alice")
		if err != nil || len(subjects) != i+1 {
			t.Fatalf("subjects from %s: %q, %v", addr, subjects, err)
		}
		s, err := l.Submission(t.Context(), addr, 465)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := s.Auth("alice", "guess"); !errors.Is(err, ErrRefused) {
				t.Errorf("a wrong password gives %v", err)
			}
		}
		if !s.Alive() {
			t.Error("the dialogue ended after wrong passwords")
		}
		s.Close()
	}
}

// What a killed lab leaves is cleared by the next.
func TestSweep(t *testing.T) {
	l := mustLab(t, "alice")
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	if err := l.Submit(t.Context(), router4, "alice", "alice@"+Domain, []string{"alice@" + Domain}, "still here"); err != nil {
		t.Errorf("sweeping touched a lab that is alive: %v", err)
	}
}

func TestPollGivesUp(t *testing.T) {
	err := Poll(t.Context(), time.Millisecond, "nothing", func() bool { return false })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// A probe must be answered as long as nothing blocks it; only then does its
// silence mean something.
func TestProbeIsAnswered(t *testing.T) {
	l := mustLab(t, "alice")
	for _, from := range []string{"198.51.100.9", "2001:db8:8000:9::9"} {
		p, err := l.Probe(netip.MustParseAddr(from), 587, time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		err = Poll(t.Context(), Patience, "answers", func() bool { return p.Through() > 50 && p.Answered() > 50 })
		if err != nil {
			t.Errorf("%s: %v: sent %d, through %d, answered %d", from, err, p.Sent(), p.Through(), p.Answered())
		}
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	}
}
