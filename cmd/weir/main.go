//go:build !manual

// Command weir is the agent and the operator's commands for it: one file a
// verb, none with logic of its own. It may know every package in userspace.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"weir/userspace/agent"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	e := env{
		stdin:      os.Stdin,
		stdout:     os.Stdout,
		stderr:     os.Stderr,
		now:        time.Now,
		isTerminal: isTerminal,
		version:    buildVersion(),
		run:        agent.Run,
		replay:     agent.Replay,
		check:      agent.Check,
	}
	os.Exit(e.main(ctx, os.Args[1:]))
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
