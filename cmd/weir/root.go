package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/userspace/agent"
	"weir/userspace/config"
	"weir/userspace/control"
)

// env is what a command meets outside itself, so that tests can stand in.
type env struct {
	stdin      io.Reader
	stdout     io.Writer
	stderr     io.Writer
	now        func() time.Time // its location is the one in which times are shown
	isTerminal func(stream any) bool
	version    string
	run        func(ctx context.Context, o agent.Options) error
	replay     func(ctx context.Context, o agent.ReplayOptions, out io.Writer) error
	check      checker
}

// app is env with what the persistent flags say.
type app struct {
	env
	configPath string
}

// newRoot builds the tree of commands.
func newRoot(e env) *cobra.Command {
	a := &app{env: e}
	root := &cobra.Command{
		Use:   "weir",
		Short: "Throttle the clients that attack a mail host, in the kernel",
		Long: `weir reads what a mail host logs, decides who attacks it or sends in a stolen
name, and limits or drops their connections at the network interface.

The agent (weir run) does that on its own. The other commands look at what it
decided and change it; they need root, or membership in group weir.`,
		Example: `  weir status                                  is it well, what does it hold
  weir list                                    who is flagged
  weir explain 203.0.113.9                     why, and how to undo it
  weir pin 203.0.113.0/24 --action allow       never flag this network
  weir replay /var/log/mail.log                what it would have decided`,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, err) })
	root.PersistentFlags().StringVar(&a.configPath, "config", config.DefaultPath, "configuration `file`")
	root.AddCommand(
		a.checkCommand(), a.confirmCommand(), a.detachCommand(), a.explainCommand(), a.listCommand(), a.panicCommand(), a.pinCommand(), a.releaseCommand(), a.replayCommand(), a.runCommand(),
		a.statusCommand(), a.unpinCommand(), a.userCommand(), a.versionCommand(), exitCodesTopic(),
	)
	root.SuggestionsMinimumDistance = 2
	root.InitDefaultCompletionCmd()
	wrapArgs(root)
	return root
}

// noSuchCommand refuses what is no command, and guesses what was meant.
func noSuchCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	guess := ""
	if similar := root.SuggestionsFor(args[0]); len(similar) > 0 {
		guess = fmt.Sprintf(" (did you mean %s?)", strings.Join(similar, " or "))
	}
	return fmt.Errorf("unknown command %q%s", args[0], guess)
}

// wrapArgs makes wrong arguments of cmd and all below it usage errors.
func wrapArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usage(cmd, err)
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		wrapArgs(sub)
	}
}

// main runs the command that args ask for and returns its exit code.
func (e env) main(ctx context.Context, args []string) int {
	root := newRoot(e)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	code := exitCode(err)
	if err == nil {
		return code
	}
	bad, found := (*usageError)(nil), (*foundError)(nil)
	switch {
	case errors.As(err, &found): // it was told
	case errors.As(err, &bad):
		fmt.Fprintf(e.stderr, "weir: %v\nSee %s --help\n", err, bad.command)
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(e.stderr, "weir: interrupted")
	default:
		fmt.Fprintf(e.stderr, "weir: %v\n", err)
	}
	return code
}

// client returns a client for the agent that the configuration names.
func (a *app) client(cmd *cobra.Command) (*control.Client, error) {
	socket, err := socketOf(a.configPath, !cmd.Flags().Changed("config"))
	if err != nil {
		return nil, err
	}
	return control.NewClient(socket, a.version), nil
}
