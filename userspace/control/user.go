package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"time"

	"weir/policy"
)

// Users is the part of a Backend that knows of users' mail.
type Users interface {
	// Users yields the users that have spent something of a quota, or on
	// whom a decision stands, by name.
	Users(ctx context.Context) iter.Seq2[User, error]

	// User tells of one user, of whom nothing need be known. The name is
	// folded (policy.FoldUser).
	User(ctx context.Context, name string) (*User, error)

	// ResetUser takes back what a user has spent, what the quotas decided
	// and what the operator has set.
	ResetUser(ctx context.Context, name string) (*UserReset, error)
}

// User is what is known of one user's mail.
type User struct {
	User     string     `json:"user"`
	Decision *Row       `json:"decision,omitempty"` // what stands: a pin before what a rule decided
	Exempt   bool       `json:"exempt,omitempty"`   // no quota holds
	Quotas   []QuotaUse `json:"quotas,omitempty"`
	Own      *Row       `json:"own,omitempty"`     // quotas that the operator has set, where a rule's decision stands
	Sources  []Familiar `json:"sources,omitempty"` // where the user succeeded from; not in lists
}

// QuotaUse is how much of one quota is spent.
type QuotaUse struct {
	Of      string     `json:"of"`             // user, group or domain
	Name    string     `json:"name,omitempty"` // of the group or domain
	Measure string     `json:"measure"`        // recipients or messages
	Quota   string     `json:"quota"`          // as it is configured: 300/1h
	Count   int        `json:"count"`          // how many those are
	Spent   int        `json:"spent"`
	Free    *time.Time `json:"free"` // when one more may be sent; null: now
}

// Familiar is a source that a user succeeded from.
type Familiar struct {
	Source string    `json:"source"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Known  bool      `json:"known"` // for so long that it is the user's own
}

// UserReset tells what a reset took back.
type UserReset struct {
	Spent  []QuotaUse `json:"spent,omitempty"`  // of the user's own quotas
	Lifted []Row      `json:"lifted,omitempty"` // decisions of the quotas, and pins
	Stands *Row       `json:"stands,omitempty"` // what a rule decided; weir release lifts that
}

// QuotaUseOf writes u for the wire.
func QuotaUseOf(u *policy.QuotaUse) QuotaUse {
	out := QuotaUse{Of: u.Party.String(), Measure: "recipients", Quota: u.Span.String(), Count: u.Span.Count, Spent: u.Spent}
	if u.Party != policy.OfUser {
		out.Name = u.Name
	}
	if u.Measure == policy.MeasureEvents {
		out.Measure = "messages"
	}
	if !u.Free.IsZero() {
		out.Free = &u.Free
	}
	return out
}

// UserDecision returns what setting a user to t is. The error wraps
// ErrInvalid. A limit's rate is in recipients; quotas alone are action quota,
// which need not be said.
func (t *Terms) UserDecision(user string, now time.Time, by string) (policy.Decision, error) {
	as := *t
	as.Recipients, as.Messages = nil, nil
	quotas := len(t.Recipients)+len(t.Messages) > 0
	switch {
	case quotas && t.Action != 0 && t.Action != policy.OwnQuota:
		return policy.Decision{}, invalidf("action %v holds in place of quotas: give one of the two", t.Action)
	case quotas || t.Action == policy.Defer || t.Action == policy.Guard:
		as.Action = policy.Drop // none of them has a rate
	case t.Action == policy.OwnQuota:
		return policy.Decision{}, invalidf("say how much, such as recipients 300/1h, or messages 100/1h")
	case t.Action == policy.Allow || t.Action == policy.Limit:
	case t.Action == 0:
		return policy.Decision{}, invalidf("say what to do with the user's mail: allow, limit, defer or guard, or how much it may send")
	default:
		return policy.Decision{}, invalidf("a user cannot be set to %v: want allow, limit, defer or guard", t.Action)
	}
	d, err := as.Decision(now, by)
	d.Action, d.User = t.Action, user
	if err != nil || !quotas {
		return d, err
	}
	d.Action = policy.OwnQuota
	d.Quota, err = t.quota()
	return d, err
}

// anyNumber stands for no bound, where a quota stands.
const anyNumber = "any"

// quota reads the quotas of t.
func (t *Terms) quota() (*policy.Quota, error) {
	q := new(policy.Quota)
	for _, of := range []struct {
		texts []string
		spans *[]policy.QuotaSpan
	}{{t.Recipients, &q.Recipients}, {t.Messages, &q.Messages}} {
		for _, text := range of.texts {
			if *of.spans == nil {
				*of.spans = []policy.QuotaSpan{}
			}
			if text == anyNumber && len(of.texts) == 1 {
				continue
			}
			span, err := policy.ParseQuotaSpan(text)
			if err != nil {
				return nil, invalidf("%v", err)
			}
			*of.spans = append(*of.spans, span)
		}
	}
	if err := q.Validate(); err != nil {
		return nil, invalidf("%v", err)
	}
	return q, nil
}

// parseUser reads a user's name.
func parseUser(name string) (string, error) {
	if err := checkText(name, MaxUser); err != nil || name == "" {
		return "", invalidf("bad user %q: want 1 to %d bytes of printable text", name, MaxUser)
	}
	return policy.FoldUser(name), nil
}

func (s *Server) users(w http.ResponseWriter, r *http.Request, _ peer) error {
	out := s.stream(w)
	for user, err := range s.backend.Users(r.Context()) {
		if err != nil {
			p, _ := problemOf(err)
			out.line(&lastWords{Error: &p})
			break
		}
		if !out.line(&user) {
			return nil // the client went away or does not read
		}
	}
	out.flush()
	return nil
}

func (s *Server) user(w http.ResponseWriter, r *http.Request, _ peer) error {
	name, err := parseUser(r.URL.Query().Get("name"))
	if err != nil {
		return err
	}
	u, err := s.backend.User(r.Context(), name)
	if err != nil {
		return err
	}
	s.answer(w, http.StatusOK, u)
	return nil
}

func (s *Server) userSet(w http.ResponseWriter, r *http.Request, from peer) error {
	name, err := parseUser(r.URL.Query().Get("name"))
	if err != nil {
		return err
	}
	var terms Terms
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10)).Decode(&terms); err != nil {
		return invalidf("bad terms: %v", err)
	}
	d, err := terms.UserDecision(name, s.Now(), from.name())
	if err != nil {
		return err
	}
	err = s.backend.Pin(r.Context(), []policy.Decision{d})
	row := RowOf(&d)
	attrs := append([]any{"target", name}, termsAttrs(&d)...)
	if row.Quota != "" {
		attrs = append(attrs, "quota", row.Quota)
	}
	s.changed("user set", from, err, attrs...)
	if err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	s.answer(w, http.StatusOK, &row)
	return nil
}

func (s *Server) userReset(w http.ResponseWriter, r *http.Request, from peer) error {
	name, err := parseUser(r.URL.Query().Get("name"))
	if err != nil {
		return err
	}
	reason, err := reasonOf(r)
	if err != nil {
		return err
	}
	result, err := s.backend.ResetUser(r.Context(), name)
	s.changed("user reset", from, err, "target", name, "reason", reason)
	if err != nil {
		return fmt.Errorf("reset %s: %w", name, err)
	}
	s.answer(w, http.StatusOK, result)
	return nil
}

// Users yields the users that have spent something, or on whom a decision
// stands. An error ends it.
func (c *Client) Users(ctx context.Context) iter.Seq2[User, error] {
	return func(yield func(User, error) bool) {
		for line, err := range c.lines(ctx, "/v1/users", nil) {
			var u User
			if err == nil {
				if err = json.Unmarshal(line, &u); err != nil {
					err = c.explain(err)
				}
			}
			if !yield(u, err) || err != nil {
				return
			}
		}
	}
}

// User tells of one user's mail.
func (c *Client) User(ctx context.Context, name string) (*User, error) {
	return ask[User](ctx, c, http.MethodGet, "/v1/user", url.Values{"name": {name}})
}

// SetUser makes the operator's word on a user's mail stand.
func (c *Client) SetUser(ctx context.Context, name string, terms Terms) (*Row, error) {
	body, err := json.Marshal(terms)
	if err != nil {
		return nil, fmt.Errorf("write terms: %w", err)
	}
	resp, err := c.do(ctx, http.MethodPost, "/v1/user/set", url.Values{"name": {name}}, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer closeBody(resp)
	row := new(Row)
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxRow)).Decode(row); err != nil {
		return nil, c.explain(err)
	}
	return row, nil
}

// ResetUser takes back what a user has spent, and what was set.
func (c *Client) ResetUser(ctx context.Context, name, reason string) (*UserReset, error) {
	return ask[UserReset](ctx, c, http.MethodPost, "/v1/user/reset", url.Values{"name": {name}, "reason": {reason}})
}
