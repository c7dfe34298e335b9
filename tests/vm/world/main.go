// Command world stands around the mail host of a guest from early in its boot:
//
//	world surround            make the network (lab.Surround)
//	world knock FILE SOURCE…  connect from each source to port 25 again and again,
//	                          and write down when the greeting came
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"weir/tests/lab"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "world:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "surround":
		return lab.Surround(ctx, "eth1")
	case len(args) > 2 && args[0] == "knock":
		return knock(ctx, args[1], args[2:])
	}
	return errors.New("usage: world surround | world knock FILE SOURCE…")
}

// knock writes a line for each attempt: microseconds since the boot at its end,
// the source, and whether the server greeted it. Who was greeted ten times has
// seen enough, before a rule takes offence.
func knock(ctx context.Context, file string, sources []string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	l, err := lab.OnHost("/tmp")
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	defer all.Wait()
	for _, text := range sources {
		from, err := netip.ParseAddr(text)
		if err != nil {
			return err
		}
		all.Go(func() {
			for times := 0; times < 10; time.Sleep(20 * time.Millisecond) {
				greeted := greets(ctx, l, from)
				if greeted {
					times++
				}
				var now unix.Timespec
				_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
				fmt.Fprintf(out, "%d %s %t\n", now.Nano()/1000, from, greeted)
			}
		})
	}
	return nil
}

func greets(ctx context.Context, l *lab.Lab, from netip.Addr) bool {
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	conn, err := l.Dial(ctx, from, 25)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.HasPrefix(line, "220")
}
