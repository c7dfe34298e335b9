package policy

import (
	"testing"
	"time"
)

func TestRateText(t *testing.T) {
	for in, want := range map[string]string{
		"6/m": "6/m", "120/m": "120/m", "2/s": "120/m", "1000/s": "1000/s", "0.5/m": "30/h", "1/h": "1/h", "3/d": "3/d", "1.5/m": "1.5/m",
	} {
		r, err := ParseRate(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := r.String(); got != want {
			t.Errorf("%s: written as %s, want %s", in, got, want)
		}
	}
	for _, bad := range []string{"", "6", "6/", "/m", "0/m", "-1/m", "6/w", "NaN/m", "1e30/s", "1e-30/s"} {
		if r, err := ParseRate(bad); err == nil {
			t.Errorf("%q is taken as %v", bad, r)
		}
	}
}

func TestBytesText(t *testing.T) {
	for in, want := range map[string]string{
		"64K/s": "64K/s", "64K": "64K/s", "1.5M/s": "1536K/s", "2048K": "2M/s", "1024G/s": "1024G/s", "1500B/s": "1500B/s",
	} {
		n, err := ParseBytes(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := FormatBytes(n); got != want {
			t.Errorf("%s: written as %s, want %s", in, got, want)
		}
	}
	for _, bad := range []string{"", "64", "K", "K/s", "64K/m", "0K", "-1K", "NaNK", "1B/s", "1023B", "1025G/s", "1e300G", "64k"} {
		if n, err := ParseBytes(bad); err == nil {
			t.Errorf("%q is taken as %d", bad, n)
		}
	}
	for want, r := range map[string]Rate{
		"":             {},
		"6/m":          {Every: 10 * time.Second, Burst: 3},
		"64K/s":        {Bytes: 64 << 10},
		"6/m, 1500B/s": {Every: 10 * time.Second, Burst: 1, Bytes: 1500},
	} {
		if got := r.String(); got != want {
			t.Errorf("%#v is written as %q, want %q", r, got, want)
		}
	}
}
