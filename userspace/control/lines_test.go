package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"testing"

	"weir/policy"
	"weir/userspace/control"
	"weir/userspace/control/controltest"
)

// TestDecisionLines: what is passed on is what a Row is in JSON.
func TestDecisionLines(t *testing.T) {
	b := &controltest.Backend{Dropped: 3}
	b.Put(policy.Decision{Target: policy.Target{User: `{"error":<b>`}, Action: policy.Guard, Since: epoch, Rule: "r"},
		policy.Decision{Target: mustTarget(t, "192.0.2.1"), Action: policy.Drop, Since: epoch, Pinned: true, Reason: "{\"error\":\n"})
	c, _ := mustServe(t, b)
	next, stop := iter.Pull2(c.Decisions(t.Context(), control.Filter{}))
	defer stop()
	n := 0
	for line, err := range c.DecisionLines(t.Context(), control.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		row, err, _ := next()
		want, _ := json.Marshal(&row)
		if err != nil || string(line) != string(want) {
			t.Errorf("line %s, row %s, %v", line, want, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d lines", n)
	}
}

// failingList ends a list in the middle.
type failingList struct{ control.Backend }

func (failingList) Decisions(context.Context, control.Filter) iter.Seq2[control.Row, error] {
	return func(yield func(control.Row, error) bool) {
		_ = yield(control.Row{Source: "192.0.2.1", Action: policy.Drop}, nil) && yield(control.Row{}, errors.New("table gone"))
	}
}

func TestListThatFailsIsNotWhole(t *testing.T) {
	c, _ := mustServe(t, failingList{})
	var rows []string
	var failed error
	for row, err := range c.Decisions(t.Context(), control.Filter{}) {
		rows, failed = append(rows, row.Source), err
	}
	if len(rows) != 2 || rows[0] != "192.0.2.1" || failed == nil || !strings.Contains(failed.Error(), "table gone") {
		t.Errorf("rows %q, %v", rows, failed)
	}
}
