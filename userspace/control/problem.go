package control

import (
	"errors"
	"fmt"
	"net/http"
)

// What a command can run into, besides ErrNotFound. Errors of Client wrap
// one of these where it applies.
var (
	ErrInvalid    = errors.New("request is not valid")
	ErrForbidden  = errors.New("not permitted")
	ErrNotRunning = errors.New("weir cannot be reached")
	ErrBusy       = errors.New("weir is busy")
	ErrProtocol   = errors.New("this weir and the agent do not speak the same control protocol")
	ErrInUse      = errors.New("another weir is listening")
)

// Problem is an error on its way over the socket.
type Problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Line    int    `json:"line,omitempty"` // of a bulk request, from 1
}

// problemCodes is the one list of what goes over the socket by which name.
var problemCodes = [...]struct {
	code   string
	status int
	err    error
}{
	{"invalid", http.StatusBadRequest, ErrInvalid},
	{"forbidden", http.StatusForbidden, ErrForbidden},
	{"not_found", http.StatusNotFound, ErrNotFound},
	{"protocol", http.StatusUpgradeRequired, ErrProtocol},
	{"busy", http.StatusServiceUnavailable, ErrBusy},
	{"failed", http.StatusInternalServerError, nil},
}

// problemOf writes err for the wire, with its HTTP status.
func problemOf(err error) (Problem, int) {
	p := Problem{Message: err.Error()}
	if at := (*lineError)(nil); errors.As(err, &at) {
		p.Line, p.Message = at.line, at.err.Error()
	}
	for _, c := range problemCodes {
		if c.err == nil || errors.Is(err, c.err) {
			p.Code = c.code
			return p, c.status
		}
	}
	panic("problemCodes has no last resort")
}

func (p *Problem) Error() string {
	if p.Line > 0 {
		return fmt.Sprintf("line %d: %s", p.Line, p.Message)
	}
	return p.Message
}

func (p *Problem) Unwrap() error {
	for _, c := range problemCodes {
		if c.code == p.Code {
			return c.err
		}
	}
	return nil
}

// sayError has a text for the operator and a sentinel for the program.
type sayError struct {
	text string
	is   error
}

func (e *sayError) Error() string { return e.text }
func (e *sayError) Unwrap() error { return e.is }

func invalidf(format string, args ...any) error {
	return &sayError{text: fmt.Sprintf(format, args...), is: ErrInvalid}
}

// lineError is an error in one line of a bulk request.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }
