package mixlog

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"weir/policy"
)

func script(visits ...Visit) Script {
	s := Script{Start: DefaultOptions().Start, Hosts: []Setup{{Name: "a", UserNamed: true, Verbose: true}, {Name: "b", Exim: true}}, Visits: slices.Values(visits)}
	for i := range minScriptAccounts {
		s.Accounts = append(s.Accounts, fmt.Sprintf("user%d@example.org", i))
	}
	return s
}

// Each event of a script's log names the session that it comes from, and what
// in it it is about.
func TestScript(t *testing.T) {
	client := netip.MustParseAddr("203.0.113.5")
	mails := []Mail{{From: "user1@example.org", Recipients: 1}, {From: "user1@example.org", Recipients: 3}}
	g, err := Play(script(
		Visit{At: time.Minute, Client: client, Service: "imap", Failed: []string{"user1@example.org", "nobody"}},
		Visit{At: 30 * time.Hour, Host: 1, Client: client, Service: "submission", Failed: []string{"user1@example.org"}, User: "user1@example.org", Mails: mails},
		Visit{At: 30 * time.Hour, Client: client, Service: "smtp", Unknown: 2},
	))
	if err != nil {
		t.Fatal(err)
	}
	type told struct {
		origin Origin
		kind   policy.Kind
	}
	got := make(map[told]int)
	last := time.Time{}
	for g.Next() {
		r := g.Record()
		if len(r.Origins) != len(r.Events) || r.Time.Before(last) {
			t.Fatalf("line %d: %d origins of %d events, at %s after %s", r.Number, len(r.Origins), len(r.Events), r.Time, last)
		}
		last = r.Time
		for i, o := range r.Origins {
			got[told{o, r.Events[i].Kind}]++
		}
	}
	want := map[told]int{
		{Origin{0, 0}, policy.AuthFailure}: 1, {Origin{0, 1}, policy.AuthFailure}: 1,
		{Origin{1, 0}, policy.Connection}: 1, {Origin{1, 0}, policy.AuthFailure}: 1, {Origin{1, 1}, policy.AuthSuccess}: 1,
		{Origin{1, 1}, policy.Message}: 1, {Origin{1, 2}, policy.Message}: 3, // Exim tells of the other recipients later
		{Origin{2, 0}, policy.Connection}: 1, {Origin{2, 0}, policy.UnknownRecipient}: 1, {Origin{2, 1}, policy.UnknownRecipient}: 1,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if since := last.Sub(DefaultOptions().Start); since < 30*time.Hour {
		t.Errorf("the log ends after %s", since)
	}
}

func TestPlayRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*Script){
		"no time":      func(s *Script) { s.Start = time.Time{} },
		"no host":      func(s *Script) { s.Hosts = nil },
		"few accounts": func(s *Script) { s.Accounts = s.Accounts[:3] },
	} {
		s := script()
		spoil(&s)
		if _, err := Play(s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
