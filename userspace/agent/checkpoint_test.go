package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/policy"
	"weir/userspace/config"
	"weir/userspace/intake"
	"weir/userspace/maillog"
	"weir/userspace/postfixpolicy"
)

func mustPipeline(t *testing.T) *pipeline {
	t.Helper()
	c := &config.Config{Rules: policy.DefaultRules(), Limits: policy.DefaultLimits()}
	p, err := newPipeline(c, maillog.Options{Location: time.UTC, Reference: logEnd})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustJudge() *postfixpolicy.Judge {
	return postfixpolicy.NewJudge(policy.DefaultLimits(), func() time.Time { return logEnd })
}

func mustEncode(t *testing.T, positions map[string]intake.Position, p *pipeline, j *postfixpolicy.Judge) []byte {
	t.Helper()
	c, err := newCheckpoint(positions, p, j)
	if err != nil {
		t.Fatal(err)
	}
	for !c.step() {
	}
	parts, err := c.encode()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(parts...)
}

type nobody struct{}

func (nobody) event(*policy.Event)       {}
func (nobody) decision(*policy.Decision) {}

func TestCheckpoint(t *testing.T) {
	p := mustPipeline(t)
	number := uint64(0)
	for line := range strings.Lines(mustRead(t, "testdata/mail.log")) {
		number++
		p.read([]intake.Record{{Line: []byte(strings.TrimSuffix(line, "\n")), Number: number}}, nobody{})
	}
	positions := map[string]intake.Position{"file:/var/log/mail.log": {Path: "/var/log/mail.log", Offset: 77, Lines: 5}}
	whole := mustEncode(t, positions, p, mustJudge())
	if len(whole) > 64<<10 {
		t.Errorf("%d bytes after 238 lines", len(whole))
	}
	got := map[string]intake.Position{}
	if err := restoreCheckpoint(whole, got, mustPipeline(t), mustJudge()); err != nil || got["file:/var/log/mail.log"].Offset != 77 {
		t.Errorf("%v, %v", got, err)
	}
	for size := 0; size < len(whole); size += 1 + size/20 {
		if err := restoreCheckpoint(whole[:size], map[string]intake.Position{}, mustPipeline(t), mustJudge()); !errors.Is(err, errCheckpoint) {
			t.Errorf("cut to %d bytes: %v", size, err)
		}
	}
}

// The longer a checkpoint takes, the later the next one.
func TestCheckpointPace(t *testing.T) {
	b := newBench(t)
	a := b.mustStart()
	mustBegin(t, a) // which takes one
	taken := func(after time.Duration, pause time.Duration) (yes bool) {
		b.setClock(b.clock().Add(after))
		if err := a.core.do(t.Context(), func() {
			a.core.dirty, a.core.pause = true, pause
			a.core.tick()
			yes = !a.core.dirty
			if a.core.pause < checkpointEvery {
				t.Errorf("the next one in %v", a.core.pause)
			}
		}); err != nil {
			t.Fatal(err)
		}
		return yes
	}
	if taken(40*time.Second, 5*time.Minute) || !taken(40*time.Second, checkpointEvery) || taken(10*time.Second, checkpointEvery) || !taken(5*time.Minute, 5*time.Minute) {
		t.Error("checkpoints are not taken when they are due")
	}
}

// mustBegin waits until the input has told where it begins.
func mustBegin(t *testing.T, a *Agent) {
	t.Helper()
	mustWait(t, "the first position", func() (told bool) {
		if err := a.core.do(t.Context(), func() { told = len(a.core.positions) == 1 }); err != nil {
			t.Fatal(err)
		}
		return told
	})
}

// An agent that is killed before its first checkpoint is due has begun at the
// log's end; the next one goes on there, and not at the end once more.
func TestFirstPositionIsKept(t *testing.T) {
	b := newBench(t)
	b.write(b.log, "what was there before\n")
	o := b.options()
	o.fromStart = false
	first, err := start(o)
	if err != nil {
		t.Fatal(err)
	}
	mustBegin(t, first)
	if err := first.change(t.Context(), func(*core) error { return nil }); err != nil { // returns when all is stored
		t.Fatal(err)
	}
	kill(first)
	text := mustRead(t, "testdata/mail.log")
	mustAppend(t, b.log, text)
	second, err := start(o)
	if err != nil {
		t.Fatal(err)
	}
	defer kill(second)
	mustReach(t, second, lineCount(text))
}

// Checkpoints of before are read: they have three parts, or four.
func TestOldCheckpoints(t *testing.T) {
	whole := mustEncode(t, map[string]intake.Position{"a": {Offset: 7}}, mustPipeline(t), mustJudge())
	end := len(checkpointVersion)
	for part := 1; part <= checkpointParts; part++ {
		n, size := binary.Uvarint(whole[end:])
		end += size + int(n)
		got := map[string]intake.Position{}
		err := restoreCheckpoint(whole[:end], got, mustPipeline(t), mustJudge())
		if part < checkpointLeast {
			if !errors.Is(err, errCheckpoint) {
				t.Errorf("%d parts: %v", part, err)
			}
		} else if err != nil || got["a"].Offset != 7 {
			t.Errorf("%d parts: %v, %v", part, got, err)
		}
	}
}

// A checkpoint that is taken while records are read says what there was when it
// began, quotas included.
func TestCheckpointIsOfItsBeginning(t *testing.T) {
	b := newBench(t)
	a := b.mustStart()
	defer kill(a)
	mustBegin(t, a)
	var records []intake.Record
	for line := range strings.Lines(mustRead(t, "testdata/mail.log")) {
		records = append(records, intake.Record{Line: []byte(strings.TrimSuffix(line, "\n")), Number: uint64(len(records) + 1)})
	}
	third := len(records) / 3
	again := func(text [][]byte) []byte {
		p, j, positions := mustPipeline(t), mustJudge(), map[string]intake.Position{}
		if err := restoreCheckpoint(slices.Concat(text...), positions, p, j); err != nil {
			t.Fatal(err)
		}
		return mustEncode(t, positions, p, j)
	}
	var got, want []byte
	if err := a.core.do(t.Context(), func() {
		c := a.core
		c.consume("file", records[:third], intake.Position{Lines: 1})
		c.finish()
		want = again([][]byte{mustEncode(t, c.positions, c.pipeline, a.judge)})
		taken, err := newCheckpoint(c.positions, c.pipeline, a.judge)
		if err != nil {
			t.Error(err)
			return
		}
		c.saving = &saving{checkpoint: taken}
		c.consume("file", records[third:2*third], intake.Position{Lines: 2})
		if len(c.saving.logged) == 0 {
			t.Error("nothing was kept from the judge")
		}
		for !taken.counted {
			taken.step()
		}
		c.tellLogged()
		c.consume("file", records[2*third:], intake.Position{Lines: 3})
		for !taken.step() {
		}
		c.saving = nil
		text, err := taken.encode()
		if err != nil {
			t.Error(err)
			return
		}
		got = again(text)
		if bytes.Equal(got, again([][]byte{mustEncode(t, c.positions, c.pipeline, a.judge)})) {
			t.Error("nothing has changed meanwhile")
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("what was written in slices is not what was there when it began")
	}
}

// Records that come together are judged as one by one.
func TestTogetherAsAlone(t *testing.T) {
	var records []intake.Record
	for line := range strings.Lines(mustRead(t, "testdata/mail.log")) {
		records = append(records, intake.Record{Line: []byte(strings.TrimSuffix(line, "\n")), Number: uint64(len(records) + 1)})
	}
	read := func(size int) []byte {
		p := mustPipeline(t)
		for batch := range slices.Chunk(records, size) {
			p.read(batch, nobody{})
		}
		return mustEncode(t, nil, p, mustJudge())
	}
	alone := read(1)
	for _, size := range []int{2, 7, 100, len(records)} {
		if !bytes.Equal(alone, read(size)) {
			t.Errorf("%d at once come to something else", size)
		}
	}
}
