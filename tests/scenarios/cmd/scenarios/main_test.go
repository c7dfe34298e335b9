package main

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weir/tests/scenarios"
	"weir/userspace/agent"
)

func TestWriteAndScore(t *testing.T) {
	log, truth := filepath.Join(t.TempDir(), "mail.log"), filepath.Join(t.TempDir(), "truth.jsonl")
	args := []string{"write", "-seed", "1", "-users", "150", "-days", "1", "-cold", "true", "-attacks", "spray,brute-fast", "-o", log, "-truth", truth}
	if err := run(args, nil, nil); err != nil {
		t.Fatal(err)
	}
	var decisions, out bytes.Buffer
	if err := agent.Replay(context.Background(), agent.ReplayOptions{Logs: []string{log}, Output: agent.OutputJSONL}, &decisions); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"score", "-truth", truth, "-"}, &decisions, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| **attacks stopped, mean over attacks** | ", "| brute-fast | ", "| spray | ", "| home | "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "| flood | ") {
		t.Error("an attack takes part that was not asked for")
	}
}

func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{
		nil, {"play"}, {"write", "-users", "1"}, {"write", "-cold", "perhaps"}, {"write", "-attacks", "flood,x"},
		{"score"}, {"score", "-truth", "/nonexistent", "-"}, {"table", "-seeds", "5-1"}, {"table", "-seeds", "x"},
		{"table", "-config", "/nonexistent"},
	} {
		if err := run(args, strings.NewReader(""), &bytes.Buffer{}); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

func TestSeeds(t *testing.T) {
	got, err := seedsOf("3,8-10")
	if err != nil || !slices.Equal(got, []uint64{3, 8, 9, 10}) {
		t.Errorf("got %d, %v", got, err)
	}
	for _, seed := range scenarios.ReportSeeds {
		if slices.Contains(scenarios.TrainingSeeds, seed) {
			t.Errorf("seed %d is tuned on and reported of", seed)
		}
	}
}
