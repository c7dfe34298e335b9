package config

import (
	"fmt"
	"strings"
)

// Error is one problem of a configuration file.
type Error struct {
	File    string
	Line    int    // from 1; 0 if the file as a whole is meant
	Problem string // what is wrong
	Remedy  string // what to do about it
	Err     error  // the cause, if it is one of the system's
}

// Unwrap returns the cause, for errors.Is.
func (e *Error) Unwrap() error { return e.Err }

// Error writes "FILE:LINE: problem: remedy".
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s: %s", e.File, e.Problem, e.Remedy)
	}
	return fmt.Sprintf("%s:%d: %s: %s", e.File, e.Line, e.Problem, e.Remedy)
}

// Errors is every problem of a configuration file, in the order of its lines.
type Errors []*Error

// Error writes one problem a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives errors.As and errors.Is each problem.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}
