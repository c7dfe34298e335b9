package dovecotpolicy

import (
	"context"
	"math"
	"net/netip"
	"time"

	"weir/policy"
)

// Judge is the agent as this server sees it. Its methods are called from many
// goroutines at once.
type Judge interface {
	// Standing tells what is known of a login: its source, and the user that
	// it is for, empty if unknown. An error means that it cannot be told in
	// time; then the login goes on.
	Standing(ctx context.Context, source netip.Addr, user string) (Standing, error)

	// Report takes the outcome of a login. evidence is the report as text.
	// With counts false it is nobody's offence, and said for the logs' sake
	// alone: a line that tells of the same attempt does not count either.
	Report(e *policy.Event, evidence string, counts bool)
}

// Standing is what is known of a login.
type Standing struct {
	Refused   bool    // the source is dropped or tarpitted, or a stranger to a guarded user
	Guarded   bool    // it is refused for the user's sake
	Trusted   bool    // the source has a good past: no delay falls on it
	Suspicion float64 // 0 to 1: how near the source is to being flagged
}

// Answer is what Dovecot is told. Status -1 refuses, 0 lets the login go on,
// and more is a delay in seconds before the password is looked at.
type Answer struct {
	Status  int    `json:"status"`
	Message string `json:"msg"`
}

// What a refused client reads: Dovecot hands the message on to it.
const (
	refusedMessage = "Logins from this address are refused for now"
	guardedMessage = "This account is protected: logins from new places are refused for now"
)

// maxDelay is the longest delay in seconds, as long as the longest of
// Dovecot's own penalties (AUTH_PENALTY_MAX_SECS).
const maxDelay = 15

// answer judges s. The delay doubles with each quarter of suspicion: 1, 3, 7
// and 15 seconds.
func (s *Standing) answer() Answer {
	switch {
	case s.Refused && s.Guarded:
		return Answer{-1, guardedMessage}
	case s.Refused:
		return Answer{-1, refusedMessage}
	case s.Trusted || !(s.Suspicion > 0):
		return Answer{}
	}
	return Answer{Status: int(math.Pow(maxDelay+1, min(s.Suspicion, 1))) - 1}
}

// answerTime bounds how long a Judge may think: well below the two seconds
// that Dovecot waits.
const answerTime = time.Second
