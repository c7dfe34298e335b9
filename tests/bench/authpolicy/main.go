// Command authpolicy measures how fast weir answers Dovecot's auth policy
// requests: the binary as it is installed, in mode enforce, in a network
// namespace of its own, with as many connections as a Dovecot opens. Beside it
// stands what no server on Go's net/http can be faster than: one that reads the
// request and answers a constant.
//
// Requests come at a fixed rate, whether or not earlier ones have been
// answered, and each one's time counts from when it was due. Then they come as
// fast as they are answered.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"weir/tests/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "authpolicy:", err)
		os.Exit(1)
	}
}

type options struct {
	weir        string
	connections int
	rate        int // requests a second
	time        time.Duration
	runs        int
	update      string
}

func run(ctx context.Context, args []string) (err error) {
	if len(args) == 2 && args[0] == "floor" {
		return floor(ctx, args[1])
	}
	var o options
	flags := flag.NewFlagSet("authpolicy", flag.ContinueOnError)
	flags.StringVar(&o.weir, "weir", "bin/weir", "weir's `binary`")
	flags.IntVar(&o.connections, "connections", 100, "that are open, as a Dovecot's (http_client_max_parallel_connections)")
	flags.IntVar(&o.rate, "rate", 10_000, "`requests` a second")
	flags.DurationVar(&o.time, "time", 10*time.Second, "how `long` each run lasts")
	flags.IntVar(&o.runs, "runs", 3, "how `often` each contender runs")
	flags.StringVar(&o.update, "update", "", "write the table to `file` as well")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.connections < 1 || o.rate < 1 || o.time <= 0 || o.runs < 1 {
		return errors.New("nothing to measure")
	}
	if o.weir, err = filepath.Abs(o.weir); err != nil {
		return err
	}
	l, err := lab.New(ctx, lab.Options{Bare: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	weir, constant, err := startContenders(ctx, l, o)
	if err != nil {
		return err
	}
	rows := []*row{
		{name: "an HTTP server that answers a constant", port: floorPort, pid: constant},
		{name: "weir", port: weirPort, pid: weir},
	}
	for range o.runs { // in turn, so that a slow minute hits all
		for _, r := range rows {
			if err := r.measure(ctx, l, o); err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
		}
	}
	text := report(rows, o)
	fmt.Print(text)
	if o.update == "" {
		return nil
	}
	return update(o.update, text)
}

const (
	weirPort  = 10032
	floorPort = 10099
	key       = "0123456789abcdef0123456789abcdef"
)

// startContenders starts weir and the other server on the mail host, and returns
// their process IDs.
func startContenders(ctx context.Context, l *lab.Lab, o options) (weir, constant int, err error) {
	path := l.Path("key")
	if err := os.WriteFile(path, []byte(key), 0o600); err != nil {
		return 0, 0, err
	}
	w, err := l.Weir(o.weir, "enforce", fmt.Sprintf("[dovecot_policy]\nlisten = [\"tcp:127.0.0.1:%d\"]\napi_key_file = %q\n", weirPort, path))
	if err != nil {
		return 0, 0, err
	}
	if err := w.Start(ctx); err != nil {
		return 0, 0, err
	}
	if _, err := w.Run(ctx, "pin", dropped+"/24", "--action", "drop"); err != nil {
		return 0, 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	p, err := l.Start(l.Mail, "floor", exec.Command(self, "floor", fmt.Sprint("127.0.0.1:", floorPort)))
	if err != nil {
		return 0, 0, err
	}
	return w.PID(), p.PID(), lab.Poll(ctx, lab.Patience, "the other server", func() bool {
		conn, err := dial(l, floorPort)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

const mark = "<!-- bench-authpolicy writes what follows -->\n"

func report(rows []*row, o options) string {
	var b strings.Builder
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(&b, "%s; %d cores, %s; %d connections, %d requests a second for %s; medians of %d runs; load average %s.\n\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.Version(), o.connections, o.rate, o.time, o.runs,
		strings.Fields(string(load) + " ?")[0])
	b.WriteString("| | median | 99 % | 99.9 % | asked late, 99 % | at full speed, requests/s | of the constant's | CPU time of the server a request |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range rows {
		m := r.median()
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %.0f | %.2f | %.0f µs |\n", r.name, ms(m.p50), ms(m.p99), ms(m.p999), ms(m.late), m.full, m.full/rows[0].median().full, m.cpu)
	}
	return b.String()
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond)) }

// update writes the table behind its mark, up to the next heading.
func update(path, text string) error {
	whole, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, after, found := strings.Cut(string(whole), mark)
	if !found {
		return fmt.Errorf("%s has no line %q", path, strings.TrimSpace(mark))
	}
	rest := ""
	if i := strings.Index(after, "\n## "); i >= 0 {
		rest = after[i:]
	}
	return os.WriteFile(path, []byte(before+mark+text+rest), 0o644)
}
