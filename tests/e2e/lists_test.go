package e2e

import (
	"fmt"
	"os"
	"testing"

	"weir/tests/lab"
)

// A list of the operator's is in force at the NIC while its lines are there;
// the configuration's allow comes before it, and so do pins.
func TestListsAreDropped(t *testing.T) {
	path := t.TempDir() + "/drop.txt"
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(fmt.Sprintf("; a list\n%s/31 ; SBL99\n{\"cidr\":\"%s\",\"sblid\":\"SBL100\"}\n%s # the good one\n", attacker4, lab.SourceText(attacker6), good4))
	s := mustStage(t, "enforce", fmt.Sprintf("allow = [%q]\n[[list]]\nname = \"droplist\"\npath = %q\n", good4, path))
	s.wantReachable(false, attacker4)
	s.wantReachable(false, other4) // in the same /31
	s.wantReachable(false, attacker6.Next())
	s.wantReachable(true, other6)
	s.wantReachable(true, good4)
	s.mustContain(s.must("explain", attacker4.String()), "is dropped", "list droplist", path+":2: SBL99", "take it out of the list")
	s.mustContain(s.must("list"), "(list droplist)", path+":3: SBL100")
	s.must("pin", other4.String(), "--action", "allow")
	s.wantReachable(true, other4)

	write("nonsense\n")
	s.mustPoll(lab.Patience, "the mistake to be said", func() bool {
		return len(s.mustStatus().Errors) > 0
	})
	s.wantReachable(false, attacker4)
	write("# nobody\n")
	s.mustPoll(lab.Patience, "the list to be empty", func() bool { return len(s.mustList("--rule", "droplist")) == 0 })
	s.wantReachable(true, attacker4)
	s.wantReachable(true, attacker6)
}
