package maillog

import (
	"fmt"
	"net/netip"
	"testing"

	"weir/policy"
)

// What reasons mean, and for how many attempts.
func TestJudgeSession(t *testing.T) {
	tests := []struct {
		said     string
		kind     policy.Kind
		attempts int
	}{
		{"Login", policy.AuthSuccess, 1},
		{"Logged in", policy.AuthSuccess, 1},
		{"Disconnected (auth failed, 3 attempts)", policy.AuthFailure, 3},
		{"Disconnected: Connection closed (auth failed, 999999999 attempts in 2 secs)", policy.AuthFailure, maxRepeat},
		{"Login aborted: Connection closed (unfinished AUTH command) (client didn't finish SASL auth, 3 attempts in 4 secs) (auth_waiting_client)", policy.AuthFailure, 2},
		{"Login aborted: Connection closed (client didn't finish SASL auth, 1 attempts in 4 secs) (auth_waiting_client)", policy.Connection, 0},
		{"Disconnected (client didn't finish SASL auth, waited 5 secs)", policy.Connection, 0},
		{"Login aborted: Logged out (login disabled, 1/3 successful auths in 14 secs) (login_disabled)", policy.AuthFailure, 2},
		{"Login aborted: Logged out (connection limit reached, 1/1 successful auths in 0 secs) (connection_limit)", policy.Connection, 0},
		{"Login aborted: Logged out (proxy dest authentication failure, 2/3 successful auths in 1 secs) (proxy_dest_auth_failed)", policy.AuthFailure, 3},
		{"Login aborted: Logged out (proxy dest temporary authentication failure, 1/1 successful auths in 1 secs) (proxy_dest_auth_temp_failed)", policy.Connection, 0},
		{"Login aborted: Logged out (proxy dest connection failed, 1/1 successful auths in 3 secs) (proxy_dest_connect_failed)", policy.Connection, 0},
		{"Disconnected (auth service reported temporary failure)", policy.Connection, 0},
		{"Disconnected (authorization failed, 2 attempts in 3 secs)", policy.Connection, 0},
		{"Disconnected (internal failure, 1 successful auths)", policy.Connection, 0},
		{"Disconnected (auth failed, attempts", policy.Connection, 0},
	}
	for _, test := range tests {
		if o := judgeSession([]byte(test.said)); o.kind != test.kind || o.attempts != test.attempts {
			t.Errorf("%s: %v, %d attempts; want %v, %d", test.said, o.kind, o.attempts, test.kind, test.attempts)
		}
	}
}

// IDs as running servers made them for clients at these addresses.
func TestSessionAddr(t *testing.T) {
	for id, want := range map[string]string{
		"0XNOKNVgjdbLAHEK":                 "203.0.113.10",
		"E5FlKNVg2ecgAQ24AAUAAQAAAAAAAACx": "2001:db8:5:1::b1",
		"AAAAproxyAAA":                     "",
		"youpi":                            "",
		"0XNOKNVgjdbLAHE-":                 "",
		"":                                 "",
	} {
		got, ok := sessionAddr([]byte(id))
		if ok != (want != "") || ok && got != netip.MustParseAddr(want) {
			t.Errorf("%s: got %v (%v), want %q", id, got, ok, want)
		}
	}
}

// A proxy and the server behind it tell of the same session, in any order.
func TestRelaysTellOnce(t *testing.T) {
	login := outcome{kind: policy.AuthSuccess, attempts: 1}
	failed := outcome{kind: policy.AuthFailure, attempts: 1, whole: true}
	relayed, end := failed, failed
	relayed.proxy, relayed.whole = true, false
	end.proxy, end.attempts = true, 3
	proxyLogin := login
	proxyLogin.proxy = true
	tests := []struct {
		name string
		told []outcome
		want string
	}{
		{"a login, the server first", []outcome{login, proxyLogin}, "[1 0]"},
		{"a login, the proxy first", []outcome{proxyLogin, login}, "[1 0]"},
		{"logins of a proxy that gives all sessions one ID", []outcome{login, login, proxyLogin, login}, "[1 1 0 1]"},
		{"the server alone", []outcome{failed, failed}, "[1 1]"},
		{"the proxy alone", []outcome{relayed, relayed, end}, "[1 1 1]"},
		{"both", []outcome{relayed, failed, failed, relayed, relayed, failed, end}, "[1 0 1 0 1 0 0]"},
		{"the proxy's end alone", []outcome{failed, failed, failed, end}, "[1 1 1 0]"},
	}
	for _, test := range tests {
		var s relays
		var got []int
		for _, o := range test.told {
			got = append(got, s.news([]byte("0XNOKNVgjdbLAHEK"), o))
		}
		if fmt.Sprint(got) != test.want {
			t.Errorf("%s: %v, want %s", test.name, got, test.want)
		}
		s.save()
		saved := relays{Saved: s.Saved}
		if !saved.restore() || saved.news([]byte("0XNOKNVgjdbLAHEK"), relayed) != s.news([]byte("0XNOKNVgjdbLAHEK"), relayed) {
			t.Errorf("%s: forgotten when saved", test.name)
		}
	}
}
