package postfixpolicy

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// atData is what Postfix 3.7 sends at DATA, but for the documentation's
// addresses.
const atData = `request=smtpd_access_policy
protocol_state=DATA
protocol_name=ESMTP
client_address=203.0.113.9
client_name=unknown
client_port=40112
reverse_client_name=unknown
server_address=192.0.2.25
server_port=587
helo_name=client.example.test
sender=alice@example.test
recipient=
recipient_count=3
queue_id=B2A7E120C55
instance=2f1a.6926d5c1.8e0a3.0
size=0
etrn_domain=
stress=
sasl_method=PLAIN
sasl_username=Alice@example.test
sasl_sender=
ccert_subject=
ccert_issuer=
ccert_fingerprint=
ccert_pubkey_fingerprint=
encryption_protocol=TLSv1.3
encryption_cipher=TLS_AES_256_GCM_SHA384
encryption_keysize=256
policy_context=

`

// request changes or adds attributes of atData: "name=value".
func request(attributes ...string) string {
	lines := strings.Split(strings.TrimSuffix(atData, "\n\n"), "\n")
	for _, a := range attributes {
		name, _, _ := strings.Cut(a, "=")
		found := false
		for i := range lines {
			if strings.HasPrefix(lines[i], name+"=") {
				lines[i], found = a, true
			}
		}
		if !found {
			lines = append(lines, a)
		}
	}
	return strings.Join(lines, "\n") + "\n\n"
}

func parsed(t *testing.T, text string) (Request, error) {
	t.Helper()
	var r Request
	err := r.parse([]byte(strings.TrimSuffix(text, "\n\n")))
	return r, err
}

func TestParse(t *testing.T) {
	r, err := parsed(t, atData)
	if err != nil {
		t.Fatal(err)
	}
	if r.State != StateData || r.Client != netip.MustParseAddr("203.0.113.9") || string(r.Port) != "40112" || string(r.User) != "Alice@example.test" ||
		string(r.Sender) != "alice@example.test" || len(r.Recipient) != 0 || string(r.QueueID) != "B2A7E120C55" || string(r.Instance) != "2f1a.6926d5c1.8e0a3.0" || r.Recipients != 3 {
		t.Errorf("%+v", r)
	}
	for _, c := range []struct {
		attribute string
		right     func(r *Request) bool
	}{
		{"protocol_state=END-OF-MESSAGE", func(r *Request) bool { return r.State == StateEndOfMessage }},
		{"protocol_state=RCPT", func(r *Request) bool { return r.State == StateRcpt }},
		{"protocol_state=VRFY", func(r *Request) bool { return r.State == StateOther }},
		{"client_address=2001:db8::1", func(r *Request) bool { return r.Client == netip.MustParseAddr("2001:db8::1") }},
		{"client_address=::ffff:192.0.2.1", func(r *Request) bool { return r.Client == netip.MustParseAddr("192.0.2.1") }},
		{"client_address=unknown", func(r *Request) bool { return !r.Client.IsValid() }},
		{"client_address=fe80::1%eth0", func(r *Request) bool { return !r.Client.IsValid() }},
		{"client_address=", func(r *Request) bool { return !r.Client.IsValid() }},
		{"sasl_username=a=b@c", func(r *Request) bool { return string(r.User) == "a=b@c" }},
		{"recipient_count=", func(r *Request) bool { return r.Recipients == 0 }},
		{"brand_new=x", func(r *Request) bool { return r.Recipients == 3 }},
	} {
		if r, err := parsed(t, request(c.attribute)); err != nil || !c.right(&r) {
			t.Errorf("%s: %+v, %v", c.attribute, r, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for what, c := range map[string]struct {
		text string
		want error
	}{
		"another request":   {request("request=junk"), errOther},
		"no request":        {"protocol_state=DATA\n\n", errOther},
		"no =":              {"request=smtpd_access_policy\nnonsense\n\n", errMalformed},
		"no name":           {"request=smtpd_access_policy\n=x\n\n", errMalformed},
		"two users":         {strings.TrimSuffix(atData, "\n") + "sasl_username=bob\n\n", errMalformed},
		"two counts":        {strings.TrimSuffix(atData, "\n") + "recipient_count=1\n\n", errMalformed},
		"a negative count":  {request("recipient_count=-1"), errMalformed},
		"a huge count":      {request("recipient_count=99999999999999999999"), errMalformed},
		"a count in words":  {request("recipient_count=three"), errMalformed},
		"a carriage return": {"request=smtpd_access_policy\r\nprotocol_state=DATA\r\n\n\n", errOther},
		"HTTP":              {"GET / HTTP/1.1\nHost: x\n\n", errMalformed},
	} {
		if _, err := parsed(t, c.text); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	var r Request
	for _, text := range []string{atData, request("client_address=2001:db8:1:2:3:4:5:6"), request("client_address=unknown")} {
		b := []byte(strings.TrimSuffix(text, "\n\n"))
		if n := testing.AllocsPerRun(1000, func() { _ = r.parse(b) }); n != 0 && r.Client.IsValid() {
			t.Errorf("%v allocations:\n%s", n, text)
		}
	}
}

// FuzzParse holds the parser to a plain one, which takes everything apart
// first.
func FuzzParse(f *testing.F) {
	for _, text := range []string{atData, request("request=x"), "a=b\n=\n", "request=smtpd_access_policy", "request=smtpd_access_policy\nuser\n", request("recipient_count=007", "client_address=::1")} {
		f.Add([]byte(strings.TrimSuffix(text, "\n\n")))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var r Request
		err := r.parse(text)
		values := make(map[string][][]byte)
		plain := true
		for i, line := range bytes.Split(text, []byte("\n")) {
			name, value, found := bytes.Cut(line, []byte("="))
			if last := i == bytes.Count(text, []byte("\n")); last && len(line) == 0 {
				break // nothing behind the last end of a line
			}
			plain = plain && found && len(name) > 0
			values[string(name)] = append(values[string(name)], value)
		}
		if err != nil {
			return
		}
		if !plain || len(values["request"]) != 1 || string(values["request"][0]) != "smtpd_access_policy" {
			t.Fatalf("taken: %q", text)
		}
		for name, have := range map[string][]byte{"sasl_username": r.User, "sender": r.Sender, "recipient": r.Recipient, "queue_id": r.QueueID, "instance": r.Instance, "client_port": r.Port, "policy_context": r.Context} {
			want := values[name]
			if len(want) > 1 || len(want) == 1 && !bytes.Equal(want[0], have) || len(want) == 0 && len(have) > 0 {
				t.Fatalf("%s is %q, read as %q", name, want, have)
			}
		}
		if r.Recipients < 0 || r.Recipients > maxRecipients {
			t.Fatalf("%d recipients", r.Recipients)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	text := []byte(strings.TrimSuffix(atData, "\n\n"))
	var r Request
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if err := r.parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
