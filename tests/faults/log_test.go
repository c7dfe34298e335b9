package faults

import (
	"os"
	"strings"
	"testing"
)

// TestLogGone removes the log under the agent. What is pinned and flagged stays
// in force, status says what is missing, and a new log is read from its first
// line.
func TestLogGone(t *testing.T) {
	h := mustHost(t, "")
	h.blocked()
	if err := os.Remove(h.lab.MailLog()); err != nil {
		t.Fatal(err)
	}
	h.mustPoll("it to be said", func() bool {
		s := h.mustStatus()
		return len(s.Intakes) == 1 && s.Intakes[0].Error != "" || strings.Contains(h.must("status"), "no such file")
	})
	t.Logf("status says: %s", h.mustStatus().Intakes[0].Error)
	if err := os.WriteFile(h.lab.MailLog(), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	h.fail("10.0.0.1", 5) // perhaps before the agent has seen that there is one again
	h.mustPoll("a flag by the new log's first lines", func() bool {
		_, found, err := h.weir.Find(t.Context(), "10.0.0.1")
		return err == nil && found
	})
	h.mustPoll("status to be content", func() bool { return h.mustStatus().Intakes[0].Error == "" })
}
