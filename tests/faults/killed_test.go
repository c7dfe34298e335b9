package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"weir/policy"
	"weir/userspace/control"
)

// operator changes pins all the time and remembers what the agent has said.
type operator struct {
	*host
	random *rand.Rand
	stands map[string]string // reason of the pin of a source or user; "": there is none
	unsure map[string]string // asked for when the agent died: may stand or not
	asked  int
	told   int
}

// change pins, unpins, sets or resets. It reports whether an agent answered.
func (o *operator) change(ctx context.Context) bool {
	target := fmt.Sprintf("192.0.2.%d", o.random.IntN(200))
	if o.random.IntN(4) == 0 {
		target = fmt.Sprintf("user%d", o.random.IntN(50))
	}
	reason := fmt.Sprintf("change %d", o.asked)
	gone := o.stands[target] != "" && o.random.IntN(2) == 0
	var err error
	switch user := strings.HasPrefix(target, "user"); {
	case user && gone:
		reason = ""
		_, err = o.client.ResetUser(ctx, target, "")
	case user:
		_, err = o.client.SetUser(ctx, target, control.Terms{Action: policy.Defer, Reason: reason})
	case gone:
		reason = ""
		_, err = o.client.Unpin(ctx, strings.NewReader(target), "", func(int) {})
	default:
		_, err = o.client.Pin(ctx, control.Terms{Action: policy.Drop, Reason: reason}, strings.NewReader(target), func(int) {})
	}
	o.asked++
	if err != nil {
		o.unsure[target] = reason
		return false
	}
	o.told++
	delete(o.unsure, target)
	o.stands[target] = reason
	return true
}

// check holds the agent to what was acknowledged.
func (o *operator) check(round int) {
	o.Helper()
	pinned := true
	rows, err := o.rows(control.Filter{Pinned: &pinned})
	if err != nil {
		o.Fatal(err)
	}
	for target, reason := range o.stands {
		got := rows[target].Reason
		if want, open := o.unsure[target]; got != reason && !(open && got == want) {
			o.Errorf("round %d: %s is pinned for %q, was acknowledged for %q (and asked for %q)", round, target, got, reason, want)
		}
	}
	for target, row := range rows {
		_, known := o.stands[target]
		_, asked := o.unsure[target]
		if !known && !asked && row.Reason != "kept" && target != "2001:db8:bad1:66::/64" {
			o.Errorf("round %d: nobody has pinned %s", round, target)
		}
		if asked { // now it is known
			o.stands[target] = row.Reason
		}
	}
	for target := range o.unsure {
		if _, stands := rows[target]; !stands {
			o.stands[target] = ""
		}
	}
	clear(o.unsure)
}

// TestKilled kills the agent at random moments of its life while passwords are
// guessed and pins are changed. No acknowledged change is lost, and none is
// invented; what was flagged stays so; counters never go back; in the end all
// that was decided is what the log says; and not one packet of a blocked source
// has got through.
func TestKilled(t *testing.T) {
	h := mustHost(t, "")
	h.blocked()
	o := &operator{host: h, random: rand.New(rand.NewPCG(7, 11)), stands: map[string]string{}, unsure: map[string]string{}}
	guesser, ready := 0, 0
	counters, dropped := map[string]uint64{}, uint64(0)
	flagged := map[string]control.Row{}
	for round := range *rounds {
		ends := time.Now().Add(time.Duration(o.random.IntN(250)) * time.Millisecond)
		ctx, cancel := context.WithDeadline(t.Context(), ends)
		for ctx.Err() == nil {
			h.fail(fmt.Sprintf("10.%d.%d.%d", guesser>>16, guesser>>8&255, guesser&255), 1+o.random.IntN(4))
			guesser += o.random.IntN(2)
			if !o.change(t.Context()) { // it is starting
				select {
				case <-ctx.Done():
				case <-time.After(5 * time.Millisecond):
				}
			}
		}
		cancel()
		if err := h.weir.Kill(); err != nil {
			t.Fatal(err)
		}
		if round%10 != 9 { // it may be killed while it starts
			if err := h.weir.Launch(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		h.mustStart()
		ready++
		o.check(round)
		status := h.mustStatus()
		for _, c := range status.Counters {
			if c.Packets < counters[c.Name] {
				t.Errorf("round %d: the kernel's counter %s went from %d to %d", round, c.Name, counters[c.Name], c.Packets)
			}
			counters[c.Name] = c.Packets
		}
		rows, err := h.rows(control.Filter{Rule: "guessing"})
		if err != nil {
			t.Fatal(err)
		}
		if n := rows[flagged4.String()].Dropped; n < dropped {
			t.Errorf("round %d: packets dropped of %s went from %d to %d", round, flagged4, dropped, n)
		} else {
			dropped = n
		}
		for target, was := range flagged {
			if is := rows[target]; !is.Since.Equal(was.Since) || is.Reason != was.Reason {
				t.Errorf("round %d: %s was flagged %+v, is %+v", round, target, was, is)
			}
		}
		flagged = rows
		if t.Failed() {
			return
		}
	}
	if err := h.weir.Kill(); err != nil {
		t.Fatal(err)
	}
	h.mustStart()
	o.check(*rounds)
	h.judgedAsReplayed()
	t.Logf("%d kills, %d starts until ready; %d changes asked for, %d acknowledged; %d lines, %d sources flagged, %d packets dropped of one of them",
		*rounds, ready, o.asked, o.told, h.written, len(flagged), dropped)
}

// judgedAsReplayed waits until what the agent has decided is what the whole log
// says.
func (h *host) judgedAsReplayed() {
	h.Helper()
	want := map[string]string{}
	for line := range strings.Lines(h.must("replay", "--output", "jsonl", h.lab.MailLog())) {
		var d struct {
			Time   time.Time
			Source string
			Reason string
		}
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			h.Fatal(err)
		}
		want[strings.TrimSuffix(d.Source, "/32")] = fmt.Sprint(d.Time.UnixMilli(), d.Reason)
	}
	var differs error
	h.mustPoll("the log to be read to its end", func() bool {
		rows, err := h.rows(control.Filter{Rule: "guessing"})
		if err != nil {
			h.Fatal(err)
		}
		differs = nil
		for source, decision := range want {
			if row := rows[source]; fmt.Sprint(row.Since.UnixMilli(), row.Reason) != decision {
				differs = errors.Join(differs, fmt.Errorf("%s: live %v %s, replayed %s", source, row.Since.UnixMilli(), row.Reason, decision))
			}
		}
		for source := range rows {
			if want[source] == "" {
				differs = errors.Join(differs, fmt.Errorf("%s is flagged, and the log does not say why", source))
			}
		}
		return differs == nil || h.mustStatus().Intakes[0].Lines >= uint64(h.written)
	})
	if differs != nil {
		h.Error(differs)
	}
}
