// Command kernels runs the tests that touch the kernel on kernels that this
// machine does not run: those of Debian that an operator may have, booted in
// QEMU under plain emulation.
//
// A guest sees this machine's files, read-only and with memory laid over
// them, so that Postfix, Dovecot and the tests' own files are there as they
// are here, and nothing that a test does comes back. Only the kernel and its
// modules are others (package machine, guest.sh).
//
// Every failure fails the command, and so does every skip that expected.go
// does not explain, or explains and that did not happen.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"weir/tests/machine"
)

//go:embed guest.sh
var guestScript []byte

// options of a run.
type options struct {
	kernels string        // folder with unpacked kernels, see tests/setup.sh
	only    string        // kinds of kernel, separated by commas; empty: all
	run     string        // for -test.run; empty: all
	goTool  string        // the go command
	verbose bool          // show what tests said that passed
	again   bool          // try once more what failed, while no other guest runs
	limit   time.Duration // for one kernel
}

// kernel is a kind of kernel and what is to be seen on it.
type kernel struct {
	kind string // as tests/setup.sh kernels links it
	jobs []job
}

// job is a package whose tests meet the kernel.
type job struct {
	pkg string
	run string // those that do, for -test.run; empty: all
}

var guestTests = job{pkg: "./tests/kernels/guest"}

// touching are the jobs for kernels that weir runs on. Of the end-to-end
// tests, those in which the kernel decides: Postfix and Dovecot take half a
// minute to start under emulation.
var touching = []job{
	guestTests,
	{pkg: "./loader"},
	{pkg: "./userspace/enforce"},
	{pkg: "./userspace/agent"},
	{pkg: "./tests/bench/live"},
	{pkg: "./tests/e2e", run: "^(TestGuessersAreDropped|TestNoGap|TestLimit)$"},
}

// kernels, the oldest first: one that weir must refuse, then the oldest and
// the newest that a Debian host with weir is likely to run.
var kernels = []kernel{
	{"5.10", []job{guestTests}},
	{"6.1", touching},
	{"6.12", touching},
}

func main() {
	var o options
	flag.StringVar(&o.kernels, "kernels", "", "folder of the unpacked kernels (tests/setup.sh kernels prints it)")
	flag.StringVar(&o.only, "only", "", "kinds of kernel, separated by commas (default all)")
	flag.StringVar(&o.run, "run", "", "only tests that match this expression")
	flag.StringVar(&o.goTool, "go", "go", "the go command")
	flag.BoolVar(&o.verbose, "v", false, "show what tests said that passed")
	flag.BoolVar(&o.again, "again", false, "try once more what failed, while no other guest runs: an emulated machine's time stands still now and then")
	flag.DurationVar(&o.limit, "limit", 40*time.Minute, "for one kernel")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := runAll(ctx, o); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1)
	}
}

// runAll tests on all kernels at once: a guest keeps one CPU of ours busy, and
// often waits.
func runAll(ctx context.Context, o options) error {
	if o.kernels == "" {
		return errors.New("no -kernels; make test-kernels gives it")
	}
	// Not in /tmp, which a guest may see otherwise than we do.
	dir, err := os.MkdirTemp(o.kernels, "run-")
	if err != nil {
		return fmt.Errorf("make folder of the run: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := build(ctx, o, dir); err != nil {
		return err
	}
	var runs []*run
	for _, k := range kernels {
		if o.only == "" || slices.Contains(strings.Split(o.only, ","), k.kind) {
			runs = append(runs, &run{kernel: k})
		}
	}
	total := testAll(ctx, o, dir, runs)
	if o.again {
		// By themselves, and without what passed.
		for _, r := range runs {
			if left := r.left(); len(left.jobs) > 0 {
				fmt.Printf("\nOnce more on %s, what failed there:\n", r.kind)
				total.failed -= r.failures()
				total.add(testAll(ctx, o, dir, []*run{{kernel: left}}))
			}
		}
	}
	fmt.Printf("\n%d passed, %d failed, %d skipped\n", total.passed, total.failed, total.skipped)
	if total.failed > 0 {
		return errors.New("tests failed, see above")
	}
	return nil
}

// testAll tests on several kernels at once, and reports each when it has ended.
func testAll(ctx context.Context, o options, binaries string, runs []*run) (total tally) {
	var guests sync.WaitGroup
	var mu sync.Mutex
	for _, r := range runs {
		guests.Go(func() {
			r.test(ctx, o, binaries)
			mu.Lock()
			defer mu.Unlock()
			total.add(r.report(os.Stdout, o))
		})
	}
	guests.Wait()
	return total
}

// build writes weir and the tests' binaries into dir.
func build(ctx context.Context, o options, dir string) error {
	commands := [][]string{{"build", "-buildvcs=false", "-o", filepath.Join(dir, "weir"), "./cmd/weir"}}
	for _, j := range touching {
		commands = append(commands, []string{"test", "-c", "-o", j.binary(dir), j.pkg})
	}
	for _, args := range commands {
		if out, err := exec.CommandContext(ctx, o.goTool, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

func (j job) binary(dir string) string {
	return filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(j.pkg, "./"), "/", "-")+".test")
}

// plan writes what guest.sh is to run, and guest.sh, into dir.
func (k kernel) plan(o options, root, binaries, dir string) error {
	var text strings.Builder
	for _, j := range k.jobs {
		fmt.Fprintf(&text, "%s %s %s -test.v=test2json -test.timeout=%s -test.run=%s\n",
			j.pkg, filepath.Join(root, j.pkg), j.binary(binaries), o.limit, cmp.Or(o.run, j.run, "."))
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "plan"), []byte(text.String()), 0o644),
		os.WriteFile(filepath.Join(dir, "guest.sh"), guestScript, 0o755))
}

// boot boots the kernel and returns what the tests said there.
func (k kernel) boot(ctx context.Context, o options, binaries string) ([]machine.Result, error) {
	folder, err := filepath.EvalSymlinks(filepath.Join(o.kernels, k.kind))
	if err != nil {
		return nil, fmt.Errorf("no such kernel: %w", err)
	}
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(binaries, k.kind+"-")
	if err != nil {
		return nil, err
	}
	if err := k.plan(o, root, binaries, dir); err != nil {
		return nil, fmt.Errorf("write plan: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	out, err := machine.Guest{Kernel: folder, Run: dir, Shared: []string{"/", o.kernels, root}, Memory: 2048, Devices: nics()}.Boot(ctx)
	results, bad := machine.Results(context.WithoutCancel(ctx), o.goTool, out)
	return results, errors.Join(err, bad)
}
