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

// encoded is a checkpoint as it is stored.
type encoded struct{ head, counts []byte }

func mustEncode(t *testing.T, positions map[string]intake.Position, p *pipeline, j *postfixpolicy.Judge) encoded {
	t.Helper()
	c, err := newCheckpoint(positions, p, j)
	if err != nil {
		t.Fatal(err)
	}
	for !c.step() {
	}
	return mustText(t, c)
}

func mustText(t *testing.T, c *checkpoint) encoded {
	t.Helper()
	if err := c.encode(); err != nil {
		t.Fatal(err)
	}
	return encoded{slices.Concat(c.head...), slices.Concat(c.counts...)}
}

// old is the same as weir wrote it before counts stood apart.
func (e encoded) old(t *testing.T) []byte {
	t.Helper()
	out, rest := e.head[:len(checkpointVersion)], e.head[len(checkpointVersion):]
	out = slices.Clone(out)
	counts := e.counts
	for i := range checkpointParts {
		part, after, err := cutPart(rest)
		if err != nil {
			t.Fatal(err)
		}
		if rest = after; i == partEngine || i == partQuotas {
			if part, counts, err = cutPart(counts); err != nil {
				t.Fatal(err)
			}
		}
		out = append(binary.AppendUvarint(out, uint64(len(part))), part...)
	}
	return out
}

func (e encoded) equal(other encoded) bool {
	return bytes.Equal(e.head, other.head) && bytes.Equal(e.counts, other.counts)
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
	if n := len(whole.head) + len(whole.counts); n > 64<<10 {
		t.Errorf("%d bytes after 238 lines", n)
	}
	got := map[string]intake.Position{}
	again := mustPipeline(t)
	if err := restoreCheckpoint(whole.head, whole.counts, got, again, mustJudge()); err != nil || got["file:/var/log/mail.log"].Offset != 77 {
		t.Errorf("%v, %v", got, err)
	}
	if !mustEncode(t, got, again, mustJudge()).equal(whole) {
		t.Error("what comes back is not what was written")
	}
	for size := 0; size < len(whole.head); size += 1 + size/20 {
		if err := restoreCheckpoint(whole.head[:size], whole.counts, map[string]intake.Position{}, mustPipeline(t), mustJudge()); !errors.Is(err, errCheckpoint) {
			t.Errorf("cut to %d bytes: %v", size, err)
		}
	}
	// Without its counts, or an older weir, goes on where the logs were read to.
	for size := 0; size < len(whole.counts); size += 1 + size/20 {
		got := map[string]intake.Position{}
		if err := restoreCheckpoint(whole.head, whole.counts[:size], got, mustPipeline(t), mustJudge()); err == nil || got["file:/var/log/mail.log"].Offset != 77 {
			t.Errorf("counts cut to %d bytes: %v, %v", size, got, err)
		}
	}
	if err := restoreCheckpoint(whole.head, nil, got, mustPipeline(t), mustJudge()); !errors.Is(err, policy.ErrSnapshot) || got["file:/var/log/mail.log"].Offset != 77 {
		t.Errorf("without counts: %v, %v", got, err)
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
	if err := <-first.writer.checkpointed(); err != nil {
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

// Checkpoints of before are read: they have no counts apart, and three parts, or
// four.
func TestOldCheckpoints(t *testing.T) {
	whole := mustEncode(t, map[string]intake.Position{"a": {Offset: 7}}, mustPipeline(t), mustJudge()).old(t)
	end := len(checkpointVersion)
	for part := 1; part <= checkpointParts; part++ {
		n, size := binary.Uvarint(whole[end:])
		end += size + int(n)
		got := map[string]intake.Position{}
		err := restoreCheckpoint(whole[:end], nil, got, mustPipeline(t), mustJudge())
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
	again := func(e encoded) encoded {
		p, j, positions := mustPipeline(t), mustJudge(), map[string]intake.Position{}
		if err := restoreCheckpoint(e.head, e.counts, positions, p, j); err != nil {
			t.Fatal(err)
		}
		return mustEncode(t, positions, p, j)
	}
	var got, want encoded
	if err := a.core.do(t.Context(), func() {
		c := a.core
		c.consume("file", records[:third], intake.Position{Lines: 1})
		c.finish()
		want = again(mustEncode(t, c.positions, c.pipeline, a.judge))
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
		got = again(mustText(t, taken))
		if got.equal(again(mustEncode(t, c.positions, c.pipeline, a.judge))) {
			t.Error("nothing has changed meanwhile")
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !got.equal(want) {
		t.Error("what was written in slices is not what was there when it began")
	}
}

// Records that come together are judged as one by one.
func TestTogetherAsAlone(t *testing.T) {
	var records []intake.Record
	for line := range strings.Lines(mustRead(t, "testdata/mail.log")) {
		records = append(records, intake.Record{Line: []byte(strings.TrimSuffix(line, "\n")), Number: uint64(len(records) + 1)})
	}
	read := func(size int) encoded {
		p := mustPipeline(t)
		for batch := range slices.Chunk(records, size) {
			p.read(batch, nobody{})
		}
		return mustEncode(t, nil, p, mustJudge())
	}
	alone := read(1)
	for _, size := range []int{2, 7, 100, len(records)} {
		if !alone.equal(read(size)) {
			t.Errorf("%d at once come to something else", size)
		}
	}
}
