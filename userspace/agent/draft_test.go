package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/policy"
	"weir/userspace/intake"
	"weir/userspace/store"
)

// draftBench is a writer with a store of its own, and a core that it knows nothing
// of.
type draftBench struct {
	*testing.T
	*writer
	path string
	ctx  context.Context
	stop context.CancelFunc
}

func newDraftBench(t *testing.T) *draftBench {
	t.Helper()
	b := &draftBench{T: t, path: filepath.Join(t.TempDir(), "weir.db")}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	open := func() (*store.Store, error) { return store.Open(b.path, quiet, nil) }
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	b.writer = newWriter(s, open, func(context.Context, *store.Store) {}, time.Now, quiet)
	b.ctx, b.stop = context.WithCancel(t.Context())
	go b.run(b.ctx)
	t.Cleanup(func() { b.stop(); _ = b.close() })
	return b
}

// taken is a checkpoint that knows a position.
func (b *draftBench) taken(offset int64) *checkpoint {
	b.Helper()
	c, err := newCheckpoint(map[string]intake.Position{"log": {Offset: offset}}, mustPipeline(b.T), mustJudge())
	if err != nil {
		b.Fatal(err)
	}
	for !c.step() {
	}
	return c
}

// block has no counts be written into the second file until it is called with
// false.
func (b *draftBench) block(yes bool) {
	b.Helper()
	name := b.path + ".counts-2"
	err := os.RemoveAll(name)
	if err == nil && yes {
		err = os.Mkdir(name, 0o700)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// holds is what a crash now would leave: the offset of the checkpoint, 0 if there
// is none, and the decisions.
func (b *draftBench) holds() (offset int64, decisions map[string]policy.Action) {
	b.Helper()
	s := b.current()
	decisions = map[string]policy.Action{}
	for d, err := range s.Decisions() {
		if err != nil {
			b.Fatal(err)
		}
		decisions[d.Target.String()] = d.Action
	}
	head, err := s.Checkpoint()
	if err != nil {
		b.Fatal(err)
	}
	if len(head) == 0 {
		return 0, decisions
	}
	counts, err := s.Counts()
	if err != nil {
		b.Fatal(err)
	}
	positions := map[string]intake.Position{}
	if err := restoreCheckpoint(head, counts, positions, mustPipeline(b.T), mustJudge()); err != nil {
		b.Fatal(err)
	}
	return positions["log"].Offset, decisions
}

func (b *draftBench) check(name string, wantOffset int64, want ...string) {
	b.Helper()
	offset, decisions := b.holds()
	if offset != wantOffset || len(decisions) != len(want) {
		b.Errorf("%s: checkpoint %d and %v; want %d and %v", name, offset, decisions, wantOffset, want)
	}
	for _, w := range want {
		if decisions[w] == 0 {
			b.Errorf("%s: %s is missing", name, w)
		}
	}
}

func (b *draftBench) mustFlush() {
	b.Helper()
	if err := <-b.flushed(); err != nil {
		b.Fatal(err)
	}
}

// While a checkpoint cannot be written, decisions and pins are; what is bound to it
// stays until it is there, unless it was decided anew, and then leaves with it.
func TestBoundToCheckpoint(t *testing.T) {
	b := newDraftBench(t)
	one, two, three := pinOf("192.0.2.1/32"), pinOf("192.0.2.2/32"), pinOf("192.0.2.3/32")
	b.put(&one, &two)
	first := make(chan error, 1)
	b.save(b.taken(7), nil, []chan<- error{first})
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	b.check("the first", 7, "192.0.2.1", "192.0.2.2")

	b.block(true)
	failed := make(chan error, 1)
	b.save(b.taken(8), []store.Key{store.KeyOf(&one), store.KeyOf(&two)}, []chan<- error{failed})
	if err := <-failed; err == nil {
		t.Error("a checkpoint was acknowledged that could not be written")
	}
	b.put(&two, &three) // the second anew
	b.mustFlush()
	b.check("not written", 7, "192.0.2.1", "192.0.2.2", "192.0.2.3")
	if _, err := b.state(); err == nil || !strings.Contains(err.Error(), "no checkpoint can be stored") {
		t.Errorf("state says %v", err)
	}

	b.save(b.taken(9), nil, nil) // and takes over what is bound to the one before it
	b.block(false)
	if err := <-b.checkpointed(); err != nil {
		t.Fatal(err)
	}
	b.check("written", 9, "192.0.2.2", "192.0.2.3")
	if saved, err := b.state(); err != nil || saved.IsZero() {
		t.Errorf("state says %v, %v", saved, err)
	}
}

// A pin is durable while a checkpoint is still being written.
func TestPinIsNotHeldUp(t *testing.T) {
	b := newDraftBench(t)
	pipe := b.path + ".counts-1" // whoever opens it to write waits for a reader
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	one, two := pinOf("192.0.2.1/32"), pinOf("192.0.2.2/32")
	b.put(&one)
	b.save(b.taken(3), []store.Key{store.KeyOf(&one)}, nil)
	done := b.checkpointed()
	b.put(&two)
	b.mustFlush()
	b.check("being written", 0, "192.0.2.1", "192.0.2.2")
	select {
	case err := <-done:
		t.Errorf("the checkpoint is acknowledged already: %v", err)
	default:
	}
	reader, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := <-done; err == nil {
		t.Error("a pipe was taken for a file")
	}
	if err := os.Remove(pipe); err != nil {
		t.Fatal(err)
	}
	if err := <-b.checkpointed(); err != nil {
		t.Fatal(err)
	}
	b.check("written", 3, "192.0.2.2")
}

// What was put before a checkpoint is durable when the checkpoint is, in whatever
// order they come to the disk.
func TestCheckpointHasWhatWasBefore(t *testing.T) {
	b := newDraftBench(t)
	var want []string
	for n := range 40 {
		d := pinOf(fmt.Sprintf("192.0.2.%d/32", n))
		want = append(want, d.Target.String())
		done := make(chan error, 1)
		b.put(&d)
		b.save(b.taken(int64(n+1)), nil, []chan<- error{done})
		if n%3 == 0 {
			continue // the next one comes while it is written
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		b.check("checkpoint", int64(n+1), want...)
	}
}

// What comes last is written when the agent ends, also while another one is being
// written.
func TestLastCheckpoint(t *testing.T) {
	b := newDraftBench(t)
	one, two := pinOf("192.0.2.1/32"), pinOf("192.0.2.2/32")
	b.put(&one)
	b.save(b.taken(1), nil, nil)
	b.put(&two)
	b.save(b.taken(2), []store.Key{store.KeyOf(&one)}, nil)
	b.stop()
	<-b.done
	b.check("the end", 2, "192.0.2.2")
	if err := <-b.checkpointed(); err == nil {
		t.Error("it takes what it will not write")
	}
}

// A store that was damaged meanwhile is opened again, whoever notices it first, and
// has the checkpoint then.
func TestDraftOfDamagedStore(t *testing.T) {
	for _, name := range []string{"decisions", "checkpoint"} {
		t.Run(name, func(t *testing.T) {
			b := newDraftBench(t)
			many := make([]policy.Decision, 3000)
			for n := range many {
				many[n] = pinOf(fmt.Sprintf("10.0.%d.%d/32", n/200, n%200))
				b.put(&many[n])
			}
			b.mustFlush()
			if err := os.Truncate(b.path, 8192); err != nil {
				t.Fatal(err)
			}
			if name == "decisions" {
				for n := range many { // as redo does
					b.put(&many[n])
				}
			}
			b.save(b.taken(5), nil, nil)
			mustWait(t, "the checkpoint to be stored", func() bool { saved, err := b.state(); return err == nil && !saved.IsZero() })
			offset, decisions := b.holds()
			if offset != 5 || name == "decisions" && len(decisions) != len(many) {
				t.Errorf("checkpoint %d, %d decisions", offset, len(decisions))
			}
		})
	}
}
