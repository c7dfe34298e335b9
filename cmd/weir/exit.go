package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"weir/userspace/check"
	"weir/userspace/config"
	"weir/userspace/control"
)

// Exit codes. exitTable documents them.
const (
	exitOK = iota
	exitFailure
	exitUsage
	exitNotRunning
	exitForbidden
	exitNothing
	exitWarning
	exitError
)

// exitTable is the one list of exit codes and what they mean.
func exitTable() []string {
	return []string{
		exitOK:         "done",
		exitFailure:    "failed for another reason; the message says which",
		exitUsage:      "wrong usage, or an error in the configuration",
		exitNotRunning: "the agent cannot be reached, or speaks another protocol",
		exitForbidden:  "not permitted: needs root or membership in group weir",
		exitNothing:    "nothing matched: what was to be explained, unpinned or released is not there",
		exitWarning:    "weir check: a warning is the worst that was found",
		exitError:      "weir check: an error was found",
	}
}

func exitCodesTopic() *cobra.Command {
	var text strings.Builder
	text.WriteString("Exit codes of every command:\n")
	for code, meaning := range exitTable() {
		fmt.Fprintf(&text, "\n  %d  %s", code, meaning)
	}
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: text.String()}
}

// usageError is a mistake in how a command was called.
type usageError struct {
	command string // as it was called
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usage(cmd *cobra.Command, err error) error {
	return &usageError{command: cmd.CommandPath(), err: err}
}

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return usage(cmd, fmt.Errorf(format, args...))
}

// nothingError says in full that nothing matched.
type nothingError struct{ text string }

func (e *nothingError) Error() string { return e.text }
func (e *nothingError) Unwrap() error { return control.ErrNotFound }

func nothingf(format string, args ...any) error {
	return &nothingError{fmt.Sprintf(format, args...)}
}

// exitCode returns the code for what a command ended with.
func exitCode(err error) int {
	found := (*foundError)(nil)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &found) && found.report.Severity == check.Error:
		return exitError
	case errors.As(err, &found):
		return exitWarning
	case isUsage(err), errors.Is(err, control.ErrInvalid):
		return exitUsage
	case errors.Is(err, control.ErrNotRunning), errors.Is(err, control.ErrProtocol), errors.Is(err, control.ErrBusy):
		return exitNotRunning
	case errors.Is(err, control.ErrForbidden):
		return exitForbidden
	case errors.Is(err, control.ErrNotFound):
		return exitNothing
	}
	return exitFailure
}

// isUsage reports whether the caller or the configuration is at fault.
func isUsage(err error) bool {
	var called *usageError
	var written config.Errors
	var one *config.Error
	return errors.As(err, &called) || errors.As(err, &written) || errors.As(err, &one)
}
