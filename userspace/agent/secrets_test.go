package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/policy"
	"weir/userspace/control"
)

// TestSecrets has everything written that the agent writes, and looks for what
// it knows and must not tell: passwords that Dovecot logs where it is told to,
// the key of its requests, and what a webhook is addressed and signed with.
func TestSecrets(t *testing.T) {
	b := newBench(t)
	const (
		password = "correct-horse"
		key      = "0123456789abcdef-key"
		signing  = "battery-staple"
		address  = "T000-B000-XXXX"
	)
	keyFile, secretFile := filepath.Join(b.dir, "key"), filepath.Join(b.dir, "secret")
	b.write(keyFile, key+"\n")
	b.write(secretFile, signing+"\n")
	hook := httptest.NewServer(http.NotFoundHandler())
	defer hook.Close()
	socket := filepath.Join(b.dir, "dovecot.sock")
	b.extra = fmt.Sprintf(`[dovecot_policy]
listen = [%q]
api_key_file = %q
[notify]
webhook = "%s/services/%s"
webhook_secret_file = %q
wait = "1s"
`, "unix:"+socket, keyFile, hook.URL, address, secretFile) + ruling
	b.configure()
	a := b.mustStart()

	var log strings.Builder
	for i := range 12 {
		fmt.Fprintf(&log, "%s mx dovecot: auth: passwd-file(carol,203.0.113.5): Password mismatch (given password: %s)\n", b.clock().Add(time.Duration(i)*time.Second).Format(time.RFC3339), password)
	}
	fmt.Fprintf(&log, "%s mx dovecot: auth: what is this of 203.0.113.5 (given password: %s)\n", b.clock().Format(time.RFC3339), password)
	mustAppend(t, b.log, log.String())
	mustReach(t, a, 13)
	for i := range 40 { // a stolen account, of which the webhook is told
		mustHear(t, a, policy.Event{Time: b.clock(), Kind: policy.AuthSuccess, Source: netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), User: "dave", Server: "dovecot"})
	}
	b.setClock(b.clock().Add(time.Minute))
	mustWait(t, "the webhook to fail", func() bool { return strings.Contains(b.output.String(), "webhook") })

	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	for _, sent := range []string{key, "a wrong one"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://weir/?command=allow", strings.NewReader(`{"login":"carol","remote":"203.0.113.5","pwhash":"1a2b"`)) // no JSON
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-API-Key", sent)
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
	}

	var err error
	a.reload()
	said := map[string]any{"status": mustStatus(t, a), "list": mustRows(t, a, control.Filter{})}
	if said["explanation"], err = a.Explain(t.Context(), policy.Target{Prefix: netip.MustParsePrefix("203.0.113.5/32")}); err != nil {
		t.Fatal(err)
	}
	mustStop(t, a)
	texts := map[string]string{"log": b.output.String()}
	for what, v := range said {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		texts[what] = string(text)
	}
	if !strings.Contains(texts["explanation"], "given password: [hidden]") {
		t.Errorf("the evidence has not the lines: %s", texts["explanation"])
	}
	files, err := filepath.Glob(filepath.Join(b.dir, "state", "*"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(data)
	}
	for what, text := range texts {
		for _, secret := range []string{password, key, signing, address} {
			if strings.Contains(text, secret) {
				t.Errorf("%s tells %s", what, secret)
			}
		}
	}
}
