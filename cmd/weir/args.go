package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// noArgs refuses arguments.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("takes no arguments, got %q", args[0])
	}
	return nil
}

// oneTarget wants a source or a user.
func oneTarget(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 1:
		return nil
	case 0:
		return errors.New("name a source or a user")
	}
	return fmt.Errorf("name one source or user, not %d", len(args))
}

// someLogs wants files.
func someLogs(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("name a log to read, or - for standard input")
	}
	return nil
}
