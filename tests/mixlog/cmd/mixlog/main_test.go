package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"weir/userspace/agent"
)

// A replay tells of a log, byte by byte, what the truth beside it says.
func TestTruthIsWhatReplayTells(t *testing.T) {
	log, truth := filepath.Join(t.TempDir(), "mail.log"), filepath.Join(t.TempDir(), "truth.jsonl")
	if err := run([]string{"-lines", "30000", "-o", log, "-truth", truth}, nil); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(truth)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	o := agent.ReplayOptions{Logs: []string{log}, Output: agent.OutputNone, Events: true}
	if err := agent.Replay(context.Background(), o, &got); err != nil {
		t.Fatal(err)
	}
	if len(want) == 0 || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("replay tells of %d bytes of events, the truth has %d, and they differ", got.Len(), len(want))
	}
}
