package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"weir/userspace/agent"
	"weir/userspace/config"
	"weir/userspace/control"
)

// panicPatience is how long the agent may take over a panic before the kernel
// is told without it. To lift one has no such hurry, and the agent loads the
// program first.
const (
	panicPatience = 3 * time.Second
	liftPatience  = time.Minute
)

func (a *app) panicCommand() *cobra.Command {
	var reason string
	var lift bool
	cmd := &cobra.Command{
		Use:   "panic [--lift] [--reason TEXT]",
		Short: "Let everything through, at once, until it is lifted",
		Long: `Let everything through at once: in the kernel, and in what mail servers are
answered. It holds over restarts of the agent and of the host, until it is lifted.
Rules go on deciding, and weir list shows what would be in force.

It needs no agent. Where none runs, or it does not answer, root's command takes
the kernel program's ports away itself. The file state_dir/panic is what keeps it:
making that file does the same within a second, and removing it lifts it.`,
		Example: `  weir panic --reason "customers are shut out"
  weir panic --lift`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	mustReason(cmd, &reason)
	f.BoolVar(&lift, "lift", false, "end it: what is configured is enforced again")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		patience := panicPatience
		if lift {
			patience = liftPatience
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), patience)
		defer cancel()
		client, err := a.client(cmd)
		if err == nil {
			defer client.Close()
		}
		if lift {
			return a.liftPanic(ctx, client, reason, err)
		}
		if err == nil {
			_, err = client.Panic(ctx, reason)
		}
		if err != nil {
			if alone := a.panicAlone(reason, err); alone != nil {
				return alone
			}
		}
		_, err = fmt.Fprintln(a.stdout, "everything passes now, and will until weir panic --lift")
		return err
	}
	return cmd
}

// panicAlone does without the agent, which could not be asked for the reason
// why.
func (a *app) panicAlone(reason string, why error) error {
	if errors.Is(why, control.ErrForbidden) || errors.Is(why, control.ErrInvalid) && !isUsage(why) {
		return why
	}
	fmt.Fprintf(a.stderr, "the agent could not be asked: %v\n", why)
	return agent.PanicAlone(a.placesOf(), a.panicFor(reason))
}

// panicFor says who has this command run, and why.
func (a *app) panicFor(reason string) control.Panic {
	p := control.Panic{Since: a.now(), Reason: reason}
	if u, err := user.LookupId(fmt.Sprint(os.Getuid())); err == nil {
		p.By = u.Username
	}
	return p
}

func (a *app) liftPanic(ctx context.Context, client *control.Client, reason string, err error) error {
	if err == nil {
		var p *control.Panic
		if p, err = client.Lift(ctx, reason); err == nil {
			_, err = fmt.Fprintf(a.stdout, "what is configured is enforced again; the panic began %s\n", ago(a.now(), p.Since))
			return err
		}
	}
	if !errors.Is(err, control.ErrNotRunning) && !isUsage(err) {
		return err
	}
	fmt.Fprintf(a.stderr, "the agent could not be asked: %v\n", err)
	switch alone := agent.LiftAlone(a.placesOf(), a.panicFor(reason)); {
	case errors.Is(alone, control.ErrNotFound) && ctx.Err() != nil:
		return err // the agent has done so, or is about to
	case errors.Is(alone, control.ErrNotFound):
		return nothingf("there is no panic to lift")
	case alone != nil:
		return alone
	}
	_, err = fmt.Fprintln(a.stdout, "the agent will enforce again when it runs")
	return err
}

// placesOf returns a configuration that tells state_dir and bpffs. One that
// has errors tells what it would by default: it must not keep the operator from
// letting mail through.
func (a *app) placesOf() *config.Config {
	c, err := config.Load(a.configPath)
	if err != nil {
		c = config.Default()
		fmt.Fprintf(a.stderr, "%v\nso the folders are taken to be %s and %s\n", err, c.StateDir, c.BPFFS)
	}
	return c
}

func (a *app) confirmCommand() *cobra.Command {
	var again bool
	cmd := &cobra.Command{
		Use:   "confirm [--again]",
		Short: "Say that what is enforced may stay",
		Long: `After weir run --confirm 10m, say within that time that you can still reach the
host, and what is enforced stays. Without your word it ends by itself, also if the
agent has died meanwhile, and the mode is "observe" from then on, over restarts.
Then --again enforces for the same time once more.`,
		Example:           `  weir confirm`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVar(&again, "again", false, "enforce once more for the same time, to be confirmed in it")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := a.client(cmd)
		if err != nil {
			return err
		}
		defer client.Close()
		c, err := client.Confirm(cmd.Context(), again)
		if err != nil {
			return err
		}
		if again {
			_, err = fmt.Fprintf(a.stdout, "enforced until %s, unless confirmed by then\n", stamp(a.now(), c.Until))
		} else {
			_, err = fmt.Fprintln(a.stdout, "confirmed: what is enforced stays")
		}
		return err
	}
	return cmd
}
