package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestWebhook(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []int
		want    string // in the error; empty: delivered
		tries   int32
	}{
		{"fine", []int{204}, "", 1},
		{"later", []int{503, 429, 200}, "", 3},
		{"never", []int{500, 500, 500, 200}, "500 Internal Server Error: nothing for you", 3},
		{"not at all", []int{404, 200}, "404 Not Found", 1},
		{"elsewhere", []int{302, 200}, "302 Found", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var tries atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				mac := hmac.New(sha256.New, []byte("secret"))
				mac.Write(body)
				if r.Header.Get("Weir-Signature") != "sha256="+hex.EncodeToString(mac.Sum(nil)) || r.Header.Get("Content-Type") != "application/json" {
					t.Errorf("header %v", r.Header)
				}
				var report Report
				if err := json.Unmarshal(body, &report); err != nil || report.Notices[0].User != "alice@example.com" || report.Version != 1 {
					t.Errorf("body %s, %v", body, err)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.answers[tries.Add(1)-1])
				_, _ = io.WriteString(w, "nothing for you")
			}))
			defer server.Close()
			hook := NewWebhook(server.URL, "secret")
			hook.Pause = time.Millisecond
			err := hook.Deliver(t.Context(), example())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if tries.Load() != c.tries {
				t.Errorf("%d tries, want %d", tries.Load(), c.tries)
			}
		})
	}
}

// TestWebhookKeepsItsAddress is a failure whose text goes into logs.
func TestWebhookKeepsItsAddress(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for _, address := range []string{closed.URL + "/services/T000-B000", "http://weir.invalid:1/T000-B000"} {
		hook := NewWebhook(address, "")
		hook.Pause = time.Millisecond
		if err := hook.Deliver(t.Context(), example()); err == nil || strings.Contains(err.Error(), "T000") {
			t.Errorf("%v", err)
		}
	}
}

func mustScript(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCommand(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	good := &Command{Args: []string{mustScript(t, `{ printf '%s\n' "$@"; env; cat; } >"$1"`), out, "$(id)"}, Timeout: 10 * time.Second}
	if err := good.Deliver(t.Context(), hostile(bad)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"\n$(id)\n", "WEIR_USER=x\r\nBcc:", "WEIR_UNTIL=2026-11-26T15:30:00Z\n", "WEIR_SOURCES=12\n", `"version":1`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%q is not in %s", part, text)
		}
	}
	// One that fails says why, one that hangs is ended with all that it started,
	// and one that does not read its input is fine.
	for script, want := range map[string]string{
		"echo no use >&2; exit 3": "exit status 3: no use",
		"sleep 60 & sleep 60":     "took longer than 300ms",
		"exit 0":                  "",
		"head -c 100000 /dev/zero | tr '\\0' x; exit 1": "xxx",
	} {
		c := &Command{Args: []string{mustScript(t, script)}, Timeout: 300 * time.Millisecond}
		if !strings.Contains(want, "longer") {
			c.Timeout = 10 * time.Second
		}
		begun := time.Now()
		err := c.Deliver(t.Context(), example())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) || err != nil && len(err.Error()) > 2*maxTail {
			t.Errorf("%s: %v", script, err)
		}
		if time.Since(begun) > 9*time.Second {
			t.Errorf("%s: it was waited for", script)
		}
	}
	if err := (&Command{Args: []string{"/nowhere"}, Timeout: time.Second}).Deliver(t.Context(), example()); err == nil {
		t.Error("a program that is not there is fine")
	}
}
