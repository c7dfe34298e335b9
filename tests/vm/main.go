// Command vm installs weir's package on a Debian 12 with systemd, Postfix and
// Dovecot, in QEMU under plain emulation: attacks it, upgrades it, reboots it, and
// removes it again. What is to be seen is in package inside, which runs in the
// guest after each of its boots.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"weir/tests/machine"
)

//go:embed guest.sh
var guestScript []byte

// boots of the guest, in order; guest.sh knows how many.
const boots = 4

// Units of the guest: the world, which is there before weir and the mail servers
// are, and the tests.
var units = map[string]string{
	"world.service": `[Unit]
Before=network.target weir.service postfix.service postfix@-.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=RUN/world surround
[Install]
WantedBy=multi-user.target
`,
	"knock.service": `[Unit]
Requires=world.service
After=world.service
Before=weir.service postfix.service postfix@-.service
[Service]
Type=exec
ExecStart=RUN/world knock /run/knocks 198.51.100.7 203.0.113.200
[Install]
WantedBy=multi-user.target
`,
	"steps.service": `[Unit]
After=multi-user.target
[Service]
Type=exec
ExecStart=RUN/guest.sh
[Install]
WantedBy=graphical.target
`,
}

type options struct {
	disk, kernel, packages string
	goTool                 string
	limit                  time.Duration
	verbose                bool
}

func main() {
	var o options
	flag.StringVar(&o.disk, "disk", "", "image of the guest (tests/setup.sh vm prints it)")
	flag.StringVar(&o.kernel, "kernel", "", "folder of the unpacked kernel (one that tests/setup.sh kernels has)")
	flag.StringVar(&o.packages, "packages", "", "folder with the packages old and new, as .deb and .rpm")
	flag.StringVar(&o.goTool, "go", "go", "the go command")
	flag.DurationVar(&o.limit, "limit", 35*time.Minute, "for all of it")
	flag.BoolVar(&o.verbose, "v", false, "show what steps said that passed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "vm:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	kernel, err := filepath.EvalSymlinks(o.kernel)
	if err != nil {
		return fmt.Errorf("no such kernel: %w", err)
	}
	kernels := filepath.Dir(kernel)
	dir, err := os.MkdirTemp(kernels, "run-")
	if err != nil {
		return fmt.Errorf("make folder of the run: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := fill(ctx, o, dir); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	begun := time.Now()
	out, failed := machine.Guest{
		Kernel: kernel, Run: dir, Shared: []string{kernels}, Disk: o.disk, Memory: 1536, Devices: machine.Joined(),
	}.Boot(ctx)
	if o.verbose {
		fmt.Printf("%s\n", out)
	}
	results, bad := machine.Results(context.WithoutCancel(ctx), o.goTool, out)
	return errors.Join(failed, bad, report(os.Stdout, o.verbose, results, time.Since(begun)))
}

// fill puts what the guest needs into the folder of the run.
func fill(ctx context.Context, o options, dir string) error {
	for _, args := range [][]string{
		{"test", "-c", "-o", filepath.Join(dir, "inside.test"), "./tests/vm/inside"},
		{"build", "-buildvcs=false", "-o", filepath.Join(dir, "world"), "./tests/vm/world"},
	} {
		if out, err := exec.CommandContext(ctx, o.goTool, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "docs"), os.DirFS("docs")); err != nil {
		return err
	}
	for _, name := range []string{"old.deb", "new.deb", "old.rpm", "new.rpm"} {
		content, err := os.ReadFile(filepath.Join(o.packages, name))
		if err != nil {
			return fmt.Errorf("%w: make test-vm builds it", err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	etc := filepath.Join(dir, "root", "etc", "systemd", "system")
	for name, text := range units {
		_, wanted, _ := strings.Cut(strings.TrimSpace(text), "WantedBy=")
		wants := filepath.Join(etc, wanted+".wants")
		if err := os.MkdirAll(wants, 0o755); err != nil {
			return err
		}
		text = strings.ReplaceAll(text, "RUN", "/mnt"+dir)
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
			return err
		}
		if err := os.Symlink("../"+name, filepath.Join(wants, name)); err != nil {
			return err
		}
	}
	// The guest reaches nobody who has updates.
	for _, timer := range []string{"apt-daily.timer", "apt-daily-upgrade.timer"} {
		if err := os.Symlink("/dev/null", filepath.Join(etc, timer)); err != nil {
			return err
		}
	}
	if err := allowTime(filepath.Dir(etc)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "guest.sh"), guestScript, 0o755)
}

// allowTime gives weir as long as it needs: under emulation the verifier alone takes
// half a minute, and a busy machine makes more of it. It comes from a generator
// (systemd.generator(7)), as a drop-in of the guest's own would be taken for the
// administrator's, and what is meant for all services does not reach those whose
// unit says otherwise.
func allowTime(systemd string) error {
	path := filepath.Join(systemd, "system-generators", "slow")
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(`#!/bin/sh
mkdir -p "$1/weir.service.d"
printf '[Service]\nTimeoutStartSec=10min\nTimeoutStopSec=5min\nWatchdogSec=5min\n' >"$1/weir.service.d/slow.conf"
`), 0o755))
}

// report writes what became of each step. Every boot has to have been seen, and
// nothing may be skipped.
func report(w io.Writer, verbose bool, results []machine.Result, took time.Duration) error {
	seen := make(map[string]bool)
	bad := 0
	for _, r := range results {
		seen[r.Package] = true
		step := strings.Contains(r.Test, "/")
		if step || r.Outcome != "pass" {
			fmt.Fprintf(w, "%s  %-4s  %5.1f s  %s\n", r.Package, r.Outcome, r.Seconds, strings.ReplaceAll(r.Test[strings.Index(r.Test, "/")+1:], "_", " "))
		}
		if r.Outcome != "pass" {
			bad++
		}
		if r.Outcome != "pass" || verbose {
			fmt.Fprintln(w, r.Output)
		}
	}
	fmt.Fprintf(w, "%s in all\n", took.Round(time.Second))
	if bad > 0 {
		return fmt.Errorf("%d failed, see above", bad)
	}
	if len(seen) != boots {
		return fmt.Errorf("of %d boots %d were seen", boots, len(seen))
	}
	return nil
}
