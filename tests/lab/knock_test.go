package lab

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A knocker sees a source being refused, whoever refuses it, and none that is
// not.
func TestKnocker(t *testing.T) {
	if err := checkRoot(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED: %v", err)
	}
	l, err := New(t.Context(), Options{Bare: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	k, err := l.Knocker(587)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	from := netip.MustParseAddr("198.18.0.1")
	if _, err := k.Refusal(t.Context(), from, 200*time.Millisecond, func() error { return nil }); err == nil || !strings.Contains(err.Error(), "still answered") {
		t.Errorf("a source that nobody refuses: %v", err)
	}
	const late = 30 * time.Millisecond
	took, err := k.Refusal(t.Context(), from, 10*time.Second, func() error {
		time.AfterFunc(late, func() {
			_ = l.Mail.Do(exec.Command("ip", "route", "add", "blackhole", from.String()).Run)
		})
		return nil
	})
	if err != nil || took < late {
		t.Errorf("a source that is refused after %v: %v, %v", late, took, err)
	}
}
