package control

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// Panic is an operator's word that everything passes, until it is lifted.
type Panic struct {
	Since  time.Time `json:"since"`
	By     string    `json:"by,omitempty"` // a user's name; empty: not known
	Reason string    `json:"reason,omitempty"`
}

// Confirmation is what mode enforce waits for where the agent was started with
// --confirm: an operator's word that the host can still be reached.
type Confirmation struct {
	Until    time.Time `json:"until"`              // nothing is enforced beyond
	Reverted bool      `json:"reverted,omitempty"` // it did not come in time
}

// Holds is the part of Backend that keeps the configured mode from taking
// effect.
type Holds interface {
	// Panic lets everything through, in the kernel and in answers to mail
	// servers, and has this outlast restarts. Decisions go on being made.
	Panic(ctx context.Context, p Panic) error

	// Lift ends a panic, and returns what it was. It returns ErrNotFound
	// if there is none.
	Lift(ctx context.Context) (*Panic, error)

	// Confirm ends the wait for a confirmation, and returns what it was. One
	// that was Reverted stays so, unless again begins another wait. It
	// returns ErrNotFound if none is waited for.
	Confirm(ctx context.Context, again bool) (*Confirmation, error)
}

func (s *Server) panic(w http.ResponseWriter, r *http.Request, from peer) error {
	p := Panic{Since: s.Now(), By: from.name()}
	var err error
	if p.Reason, err = reasonOf(r); err != nil {
		return err
	}
	err = s.backend.Panic(r.Context(), p)
	s.changed("panic", from, err, "reason", p.Reason)
	if err != nil {
		return err
	}
	s.answer(w, http.StatusOK, &p)
	return nil
}

func (s *Server) lift(w http.ResponseWriter, r *http.Request, from peer) error {
	reason, err := reasonOf(r)
	if err != nil {
		return err
	}
	p, err := s.backend.Lift(r.Context())
	if errors.Is(err, ErrNotFound) {
		return &sayError{"there is no panic to lift", ErrNotFound}
	}
	s.changed("panic lifted", from, err, "reason", reason)
	if err != nil {
		return err
	}
	s.answer(w, http.StatusOK, p)
	return nil
}

func (s *Server) confirm(w http.ResponseWriter, r *http.Request, from peer) error {
	again := r.URL.Query().Get("again") == "true"
	c, err := s.backend.Confirm(r.Context(), again)
	if errors.Is(err, ErrNotFound) {
		return &sayError{"nothing waits to be confirmed: weir run was not started with --confirm, or this was done already", ErrNotFound}
	}
	if err == nil && c.Reverted {
		err = invalidf("the time to confirm was over %s, and nothing is enforced since: weir confirm --again enforces for a while once more, to be confirmed in it",
			c.Until.Format(time.DateTime))
	}
	if err != nil {
		return err
	}
	s.changed("enforcement confirmed", from, nil, "again", again)
	s.answer(w, http.StatusOK, c)
	return nil
}

// Panic lets everything through until Lift.
func (c *Client) Panic(ctx context.Context, reason string) (*Panic, error) {
	return ask[Panic](ctx, c, http.MethodPost, "/v1/panic", url.Values{"reason": {reason}})
}

// Lift ends a panic.
func (c *Client) Lift(ctx context.Context, reason string) (*Panic, error) {
	return ask[Panic](ctx, c, http.MethodPost, "/v1/panic/lift", url.Values{"reason": {reason}})
}

// Confirm says that what is enforced may stay; again begins another period
// where that word came too late.
func (c *Client) Confirm(ctx context.Context, again bool) (*Confirmation, error) {
	query := url.Values{}
	if again {
		query.Set("again", "true")
	}
	return ask[Confirmation](ctx, c, http.MethodPost, "/v1/confirm", query)
}
