package policy

import "testing"

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
