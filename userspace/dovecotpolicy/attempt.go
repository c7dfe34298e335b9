package dovecotpolicy

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"weir/policy"
)

// attempt is a login as a request tells of it. Dovecot sends what
// auth_policy_request_attributes names, and with a report the outcome.
type attempt struct {
	Login     field `json:"login"`      // %{requested_username}
	Password  field `json:"pwhash"`     // %{hashed_password}
	Remote    field `json:"remote"`     // %{rip}
	Device    field `json:"device_id"`  // %{client_id}: what the client's ID command says
	Protocol  field `json:"protocol"`   // %s, 2.4 %{protocol}
	Session   field `json:"session_id"` // %{session}
	Mechanism field `json:"mech"`       // %m, 2.4 %{mechanism}; not by default
	TLS       field `json:"tls"`
	Success   field `json:"success"`       // of a report
	Rejected  field `json:"policy_reject"` // of a report: by an answer of ours
	FailType  field `json:"fail_type"`     // of a report, since 2.4
}

// field is a value that may come as a text, a number, a truth value, null, or
// a list of these, of which the first counts. It is cut to maxField bytes.
type field string

const maxField = 1024

// UnmarshalJSON reads any JSON value. An object is no value, and left out.
func (f *field) UnmarshalJSON(b []byte) error {
	*f = ""
	switch b[0] {
	case '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*f = field(s[:min(len(s), maxField)])
	case '[':
		var list []field
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
		if len(list) > 0 {
			*f = list[0]
		}
	case '{', 'n':
	default: // a number, true or false
		*f = field(b[:min(len(b), maxField)])
	}
	return nil
}

// true reports whether f says so. Words of older and other senders are known.
func (f field) true() bool {
	switch strings.ToLower(string(f)) {
	case "true", "yes", "1", "y":
		return true
	}
	return false
}

// readAttempt reads the body of a request.
func readAttempt(body []byte) (a attempt, err error) {
	if err := json.Unmarshal(body, &a); err != nil {
		return attempt{}, fmt.Errorf("request is no JSON object as Dovecot sends it: %w", err)
	}
	return a, nil
}

// source is the client's address, invalid where Dovecot tells none, as for
// logins from its own host over a socket.
func (a *attempt) source() netip.Addr {
	addr, err := netip.ParseAddr(string(a.Remote))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

// maxUser bounds a login name in bytes, as the log's reader does.
const maxUser = 255

func (a *attempt) user() string { return string(a.Login[:min(len(a.Login), maxUser)]) }

// password tells the tried passwords of one user apart; 0 if nothing does.
// Of a mechanism that shows Dovecot no password, pwhash is the same for all.
func (a *attempt) password() uint32 {
	switch strings.ToUpper(string(a.Mechanism)) {
	case "", "PLAIN", "LOGIN":
	default:
		return 0
	}
	if a.Password == "" {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(a.Password)) // it never fails
	return max(h.Sum32(), 1)
}

// service is the protocol in the words of policy.Event.
func (a *attempt) service() string {
	switch p := strings.ToLower(string(a.Protocol)); p {
	case "smtp", "submission", "imap", "pop3", "sieve":
		return p
	case "managesieve":
		return "sieve"
	}
	return ""
}

// outcome is what a report says of a login.
type outcome uint8

const (
	succeeded outcome = iota
	refused           // the password was wrong, or the user does not exist
	untyped           // it failed, and nobody says why: 2.3 tells so of a wrong password and of its own trouble alike
	excused           // it failed, and that is nobody's offence
)

// outcome judges a report. What is an offence stands in
// docs/decisions/maillog-offences.md.
func (a *attempt) outcome() outcome {
	switch {
	case a.Success.true():
		return succeeded
	case a.Rejected.true():
		return excused
	}
	switch strings.ToLower(string(a.FailType)) {
	case "credentials", "account":
		return refused
	case "":
		return untyped
	}
	return excused // internal, expired, disabled, policy
}

// event is what a report tells, by the time at which it came: Dovecot sends it
// when the password was judged.
func (a *attempt) event(o outcome, at time.Time, number uint64) policy.Event {
	e := policy.Event{
		Time: at, Kind: policy.AuthFailure, Source: a.source(), User: a.user(), Service: a.service(), Server: "dovecot",
		Password: a.password(), Line: number,
	}
	if o == succeeded {
		e.Kind = policy.AuthSuccess
	}
	return e
}

// evidence writes a report as a text for people. The hash of the password is
// not in it.
func (a *attempt) evidence(o outcome) string {
	b := make([]byte, 0, 192)
	b = append(b, "dovecot report: "...)
	if o == succeeded {
		b = append(b, "success"...)
	} else {
		b = append(b, "failure"...)
	}
	for _, f := range []struct {
		name  string
		value field
	}{
		{"fail_type", a.FailType}, {"login", a.Login}, {"remote", a.Remote}, {"protocol", a.Protocol}, {"mech", a.Mechanism},
		{"tls", a.TLS}, {"device_id", a.Device}, {"session_id", a.Session},
	} {
		if f.value != "" {
			b = append(append(append(b, ' '), f.name...), '=')
			b = strconv.AppendQuote(b, string(f.value[:min(len(f.value), maxUser)]))
		}
	}
	return string(b)
}
