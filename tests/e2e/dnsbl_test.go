package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"weir/tests/lab"
)

// mustDNSList serves a DNS list in the mail host's namespace, which names so many
// sources, and returns where.
func mustDNSList(t *testing.T, l *lab.Lab, named ...netip.Addr) (resolver string) {
	t.Helper()
	program, err := exec.LookPath("rbldnsd")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED, nothing was tested: %v (run tests/setup.sh test)", err)
	}
	text := ":127.0.0.2:listed\n127.0.0.2\n"
	for _, addr := range named {
		text += addr.String() + "\n"
	}
	mustWriteFile(t, l.Path("list"), text)
	const port = 5353
	cmd := exec.Command(program, "-n", "-f", "-u", "nobody:nogroup", "-b", fmt.Sprintf("127.0.0.1/%d", port), "-w", l.Dir, "bad.example:ip4set:list")
	server, err := l.Start(l.Mail, "rbldnsd", cmd)
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Poll(t.Context(), lab.Patience, "rbldnsd to have read its list", func() bool {
		select {
		case <-server.Exited():
			t.Fatalf("rbldnsd ended: %s", l.Output("rbldnsd"))
		default:
		}
		return strings.Contains(l.Output("rbldnsd"), "zones reloaded")
	}); err != nil {
		t.Fatalf("%v\n%s", err, l.Output("rbldnsd"))
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// A source that nobody has seen tries to log in: DNS lists are asked about it,
// and one that a list names is dropped sooner than others, by the rules that
// weir comes with. Who has long logged in is not asked about.
func TestListedSourceIsDroppedSooner(t *testing.T) {
	s := mustStageFor(t, lab.Options{}, "enforce", func(l *lab.Lab) string {
		resolver := mustDNSList(t, l, attacker4, good4)
		return fmt.Sprintf("[dnsbl]\nzones = [\"bad.example\"]\nresolver = %q\n", resolver)
	})
	s.rememberHome("alice", good4)
	asked := func(sources, named int) {
		t.Helper()
		want := fmt.Sprintf("DNS lists were asked about %d sources and name %d", sources, named)
		s.mustPoll(lab.Patience, want, func() bool { return strings.Contains(s.must("status"), want) })
	}
	// tries counts wrong passwords until a source is dropped.
	tries := func(from netip.Addr, first func()) int {
		t.Helper()
		for n := 0; n < 40; n++ {
			if len(s.mustList("--prefix", from.String())) == 1 {
				return n
			}
			ctx := t.Context()
			session, err := s.lab.Submission(ctx, from, 465)
			if err != nil {
				s.mustPoll(lab.Patience, "the source to be listed", func() bool { return len(s.mustList("--prefix", from.String())) == 1 })
				return n
			}
			if session.Auth("alice", fmt.Sprintf("guess %d", n)) == nil {
				t.Fatal("a guess was right")
			}
			session.Close()
			lines := s.logLines()
			s.mustPoll(lab.Patience, "the log to be read", func() bool { return s.mustStatus().Intakes[0].Lines+s.skipped >= lines })
			if n == 0 {
				first()
			}
		}
		t.Fatalf("%s was never dropped", from)
		return 0
	}
	before := 1 // who was remembered
	if strings.Contains(s.must("status"), "asked about 0 sources") {
		before = 0
	}
	listed := tries(attacker4, func() { asked(before+1, before+1) })
	s.mustContain(s.must("explain", attacker4.String()), "bad.example names "+attacker4.String())
	other := tries(other4, func() { asked(before+2, before+1) })
	t.Logf("dropped after %d tries where a list names it, %d where none does", listed, other)
	if listed >= other {
		t.Errorf("a listed source has %d tries, another %d", listed, other)
	}
	if err := s.submit(good4, "alice", 1); err != nil {
		t.Errorf("a listed source of the user's own: %v", err)
	}
}
