package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/policy"
	"weir/userspace/control"
	"weir/userspace/store"
)

func TestReloadKeepsCounts(t *testing.T) {
	b := newBench(t)
	text := mustRead(t, "testdata/mail.log")
	lines := slices.Collect(strings.Lines(text))
	a := b.mustStart()
	for done := 0; done < len(lines); done += 17 {
		mustAppend(t, b.log, strings.Join(lines[done:min(done+17, len(lines))], ""))
		mustReach(t, a, min(done+17, len(lines)))
		a.reload()
	}
	if want := b.replayed(text); !slices.Equal(b.decided, want) {
		t.Errorf("with reloads:\n%s\nwithout:\n%s", strings.Join(b.decided, "\n"), strings.Join(want, "\n"))
	}
}

func TestReloadTakesEffect(t *testing.T) {
	b := newBench(t)
	text := mustRead(t, "testdata/mail.log")
	a := b.mustStart()
	mustAppend(t, b.log, text)
	mustReach(t, a, lineCount(text))
	row := mustFind(t, a, sprayer, false)
	if row == nil || row.OverriddenBy != "" {
		t.Fatalf("before: %+v", row)
	}

	b.allow = "2001:db8::/32"
	second := filepath.Join(b.dir, "second.log")
	b.write(second, "")
	b.extra = fmt.Sprintf("[[intake]]\ntype = \"file\"\npath = %q\n", second)
	b.configure()
	b.write(b.config, strings.Replace(mustRead(t, b.config), "c.sock", "other.sock", 1))
	a.reload()
	if row := mustFind(t, a, sprayer, false); row == nil || !strings.Contains(row.OverriddenBy, "allow 2001:db8::/32") {
		t.Errorf("now allowed: %+v", row)
	}
	if !strings.Contains(b.output.String(), "key=control_socket") {
		t.Errorf("nothing was said of the control socket:\n%s", b.output)
	}
	mustAppend(t, second, text)
	mustWait(t, "the second log to be read", func() bool {
		s, err := a.Status(t.Context())
		return err == nil && len(s.Intakes) == 2 && s.Intakes[0].Lines+s.Intakes[1].Lines == uint64(2*lineCount(text))
	})

	b.write(b.config, "mode = \"observe\"\nmoed = 1\nprots = [25]\n")
	a.reload()
	out := b.output.String()
	if n := strings.Count(out, "the configuration has an error"); n != 2 || !strings.Contains(out, b.config+":2") || !strings.Contains(out, b.config+":3") || strings.Contains(out, `\n`) {
		t.Errorf("the mistake is not said with its line:\n%s", out)
	}
	s, err := a.Status(t.Context())
	if err != nil || len(s.Intakes) != 2 || !strings.Contains(s.Errors[0].Text, "prots") {
		t.Errorf("after a bad configuration: %+v, %v", s, err)
	}
}

func TestNothingToRead(t *testing.T) {
	b := newBench(t)
	whole := mustRead(t, b.config)
	without, _, _ := strings.Cut(whole, "[[intake]]")
	b.write(b.config, without)
	a := b.mustStart()
	const words = "nothing is read"
	if s, err := a.Status(t.Context()); err != nil || len(s.Errors) == 0 || !strings.Contains(s.Errors[0].Text, words) {
		t.Errorf("%+v, %v", s, err)
	}
	b.write(b.config, whole)
	a.reload()
	if n := strings.Count(b.output.String(), words); n != 1 {
		t.Errorf("said %d times", n)
	}
}

func TestSecondAgent(t *testing.T) {
	b := newBench(t)
	b.mustStart()
	if _, err := start(b.options()); !errors.Is(err, store.ErrInUse) {
		t.Errorf("a second agent on the same state: %v", err)
	}
	b.write(b.config, strings.Replace(mustRead(t, b.config), "/state", "/state2", 1))
	if _, err := start(b.options()); !errors.Is(err, control.ErrInUse) {
		t.Errorf("a second agent on the same socket: %v", err)
	}
}

func TestStartErrors(t *testing.T) {
	b := newBench(t)
	good := mustRead(t, b.config)
	for _, c := range []struct{ name, from, to, want string }{
		{"unknown key", "mode =", "moed =", b.config + ":1"},
		{"bad prefix", "198.51.100.0/28", "198.51.100.0/33", b.config + ":5"},
		{"state_dir that is a file", "/state", "/mail.log", "state_dir"},
		{"control socket that is a file", "c.sock", "mail.log", "mail.log"},
	} {
		b.write(b.config, strings.Replace(good, c.from, c.to, 1))
		a, err := start(b.options())
		if err == nil {
			kill(a)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	b.write(b.config, good)
	mustStop(t, b.mustStart()) // and nothing is left behind that is in the way
	if err := Run(t.Context(), Options{}); err == nil {
		t.Error("empty options are accepted")
	}
}

func TestCorruptStoreAtStart(t *testing.T) {
	b := newBench(t)
	a := b.mustStart()
	if err := a.Pin(t.Context(), []policy.Decision{pinOf("192.0.2.1/32")}); err != nil {
		t.Fatal(err)
	}
	mustStop(t, a)
	path := filepath.Join(b.dir, "state", "weir.db")
	b.write(path, strings.ReplaceAll(mustRead(t, path), "seen elsewhere", "seen elsewhen!"))
	a = b.mustStart()
	if !strings.Contains(b.output.String(), "weir.db.corrupt-1") {
		t.Errorf("nothing was said:\n%s", b.output)
	}
	s, err := a.Status(t.Context())
	if err != nil || !slices.ContainsFunc(s.Errors, func(f control.Fault) bool { return strings.Contains(f.Text, "damaged") }) {
		t.Errorf("status: %+v, %v", s, err)
	}
}

// TestDamagedCountsAtStart loses what the checkpoint counts: that is said, what was
// decided stands, and no line is read twice.
func TestDamagedCountsAtStart(t *testing.T) {
	b := newBench(t)
	a := b.mustStart()
	text := mustRead(t, "testdata/mail.log")
	mustAppend(t, b.log, text)
	mustReach(t, a, lineCount(text))
	before := standing(t, a)
	mustStop(t, a)
	for _, path := range store.Files(filepath.Join(b.dir, "state", "weir.db"))[1:] {
		b.write(path, "not what was written")
	}
	a = b.mustStart()
	s, err := a.Status(t.Context())
	if err != nil || !slices.ContainsFunc(s.Errors, func(f control.Fault) bool { return strings.Contains(f.Text, "counts start anew") }) {
		t.Errorf("status: %+v, %v", s, err)
	}
	if after := standing(t, a); len(before) < 10 || !slices.Equal(after, before) {
		t.Errorf("%d decisions stand, %d before", len(after), len(before))
	}
	mustAppend(t, b.log, "one more line\n")
	mustReach(t, a, lineCount(text)+1)
	if after := standing(t, a); !slices.Equal(after, before) {
		t.Errorf("%d decisions stand, %d before: lines were read again", len(after), len(before))
	}
	mustStop(t, a)
	if mustStop(t, b.mustStart()); strings.Count(b.output.String(), "counts start anew") != 1 {
		t.Errorf("said more than once:\n%s", b.output)
	}
}

// TestStoreDamagedWhileOpen cuts the file short under the running agent: it
// goes on from memory, and the store is whole again afterwards.
func TestStoreDamagedWhileOpen(t *testing.T) {
	b := newBench(t)
	a := b.mustStart()
	var pins []policy.Decision
	for n := range 3000 {
		pins = append(pins, pinOf(fmt.Sprintf("10.1.%d.%d/32", n/200, n%200)))
	}
	if err := a.Pin(t.Context(), pins); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(a.storePath(), 16384); err != nil {
		t.Fatal(err)
	}
	if err := a.Pin(t.Context(), []policy.Decision{pinOf("192.0.2.1/32")}); err == nil || !strings.Contains(err.Error(), "not stored yet") {
		t.Errorf("pin on a damaged store: %v", err)
	}
	mustWait(t, "the store to work again", func() bool { return a.Pin(t.Context(), []policy.Decision{pinOf("192.0.2.2/32")}) == nil })
	kill(a)
	a = b.mustStart()
	if n := len(mustRows(t, a, control.Filter{})); n != len(pins)+2 {
		t.Errorf("%d pins after the restart, want %d", n, len(pins)+2)
	}
}

// mustTestify checks that the evidence for the decision on target has its sample.
func mustTestify(t *testing.T, a *Agent, target policy.Target, when string) {
	t.Helper()
	e, err := a.Explain(t.Context(), target)
	if err != nil || len(e.Decisions) == 0 || e.Decisions[0].Evidence == nil || len(e.Decisions[0].Evidence.Sample) == 0 {
		t.Errorf("%s the evidence is gone: %+v, %v", when, e, err)
	}
}

// TestEvidenceOutlivesSalvage has the store opened again, as after damage: what
// it still holds with its evidence is not written over without.
func TestEvidenceOutlivesSalvage(t *testing.T) {
	b := newBench(t)
	a := b.mustStart()
	text := mustRead(t, "testdata/mail.log")
	mustAppend(t, b.log, text)
	mustReach(t, a, lineCount(text))
	if err := <-a.writer.flushed(); err != nil {
		t.Fatal(err)
	}
	mustTestify(t, a, sprayer, "before all")
	a.writer.reopen(t.Context())
	if err := <-a.writer.flushed(); err != nil {
		t.Fatal(err)
	}
	mustTestify(t, a, sprayer, "after it was opened again")
	kill(a)
	mustTestify(t, b.mustStart(), sprayer, "after a crash")
}

func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system takes root")
	}
	b := newBench(t)
	state := filepath.Join(b.dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("weir", state, "tmpfs", 0, "size=512k"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount tmpfs: %v", err)
		}
		t.Skipf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(state, syscall.MNT_DETACH) })
	a := b.mustStart()
	var pins []policy.Decision
	for n := range 10_000 {
		pins = append(pins, pinOf(fmt.Sprintf("10.%d.%d.%d/32", n/40000, n/200, n%200)))
	}
	if err := a.Pin(t.Context(), pins); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("pins on a full disk: %v", err)
	}
	text := mustRead(t, "testdata/mail.log")
	mustAppend(t, b.log, text)
	mustReach(t, a, lineCount(text))
	if mustFind(t, a, sprayer, false) == nil {
		t.Error("nothing is decided while the disk is full")
	}
	mustTestify(t, a, sprayer, "while the disk is full")
	if s, err := a.Status(t.Context()); err != nil || !strings.Contains(s.Store.Error, "no space left") {
		t.Errorf("status: %+v, %v", s, err)
	}
	if err := syscall.Mount("", state, "", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	mustWait(t, "the decisions to be stored", func() bool { _, err := a.writer.state(); return err == nil })
	before := standing(t, a)
	kill(a)
	a = b.mustStart()
	if after := standing(t, a); len(after) != len(before) || len(after) < len(pins) {
		t.Errorf("%d decisions after the restart, %d before it", len(after), len(before))
	}
}

// TestRun goes through the front door: signals' channel, socket, notify.
func TestRun(t *testing.T) {
	b := newBench(t)
	notify := filepath.Join(b.dir, "notify")
	systemd := mustListen(t, notify)
	t.Setenv("NOTIFY_SOCKET", notify)
	t.Setenv("WATCHDOG_USEC", "2000000")
	o := b.options()
	reload := make(chan os.Signal, 1)
	o.Reload = reload
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, o) }()
	systemd.mustTell(t, "READY=1")
	client := control.NewClient(filepath.Join(b.dir, "c.sock"), "test")
	if s, err := client.Status(t.Context()); err != nil || s.Mode != "observe" {
		t.Errorf("status over the socket: %+v, %v", s, err)
	}
	systemd.mustTell(t, "STATUS=observing")
	systemd.mustTell(t, "WATCHDOG=1")
	reload <- syscall.SIGHUP
	systemd.mustTell(t, "RELOADING=1\nMONOTONIC_USEC=")
	systemd.mustTell(t, "READY=1")
	cancel()
	systemd.mustTell(t, "STOPPING=1")
	if err := <-ended; err != nil {
		t.Errorf("stopped with %v", err)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "c.sock")); err == nil {
		t.Error("the control socket is left behind")
	}
}

func TestFaults(t *testing.T) {
	f := &faults{}
	var out bytes.Buffer
	log := slog.New(faultHandler{Handler: slog.NewTextHandler(&out, nil), faults: f}).With("input", "x")
	log.Info("fine")
	for range 3 {
		log.Warn("hm", "n", 1)
	}
	for n := range 2 * maxFaults {
		log.Error("bad", "n", n)
	}
	all := f.list()
	if len(all) != maxFaults || all[0].Text != fmt.Sprintf("bad; input: x; n: %d", 2*maxFaults-1) {
		t.Errorf("%d faults, the newest %+v", len(all), all[0])
	}
	f = &faults{}
	f.add(logEnd, "a")
	f.add(logEnd.Add(time.Second), "a")
	if all := f.list(); len(all) != 1 || all[0].Count != 2 || !all[0].Time.Equal(logEnd.Add(time.Second)) {
		t.Errorf("%+v", all)
	}
	if !strings.Contains(out.String(), "fine") || strings.Count(out.String(), "hm") != 3 {
		t.Errorf("the log lacks something:\n%s", out.String())
	}
}

func TestRecent(t *testing.T) {
	r := newRecent(1 << 10)
	event := func(n int) *policy.Event {
		return &policy.Event{Time: logEnd.Add(time.Duration(n) * time.Second), Kind: policy.AuthFailure, Line: uint64(n), Source: netip.IPv6Loopback()}
	}
	text := func(n int) string { return fmt.Sprintf("%d %s", n, strings.Repeat("x", n*37%200)) }
	for n := range 500 {
		r.add(event(n), []byte(text(n)))
		r.add(event(n), []byte(text(n))) // a second event of the same line
		sample := make([]policy.Observation, n+1)
		for i := range sample {
			e := event(i)
			sample[i] = policy.Observation{Time: e.Time, Kind: e.Kind, Line: e.Line}
		}
		r.fill(sample)
		known := 0
		for i, o := range sample {
			if o.Text != "" {
				known++
				if o.Text != text(i) {
					t.Fatalf("after %d lines, line %d is %q", n, i, o.Text)
				}
			}
		}
		if sample[n].Text == "" || known > len(r.lines) || n > 10 && known < 3 {
			t.Fatalf("after %d lines %d are known", n, known)
		}
	}
	r.add(event(1000), bytes.Repeat([]byte("y"), 5000)) // longer than all of it
	var none *recent
	none.add(event(1), nil)
	none.fill(make([]policy.Observation, 1))
}
