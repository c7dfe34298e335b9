package control_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"weir/userspace/control"
)

func mustList(t testing.TB, text string) *control.List {
	t.Helper()
	list, err := control.ReadList("list", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestListIsSorted: sorted, every prefix once, as the last line about it says.
func TestListIsSorted(t *testing.T) {
	list := mustList(t, "2001:db8::1 # first\n203.0.113.9#x\n# none\n10.0.0.0/8\n\n9.0.0.1\r\n203.0.113.9\n2001:db8::2 # last\n10.0.0.0")
	want := "9.0.0.1/32\n10.0.0.0/8\n10.0.0.0/32\n203.0.113.9/32\n2001:db8::/64 # last\n"
	got, err := io.ReadAll(iotest.OneByteReader(list))
	if err != nil || string(got) != want || list.Count() != 5 || list.String() != "5 prefixes" {
		t.Errorf("%v, %d: %s%v", list, list.Count(), got, err)
	}
	if len(list.Wide) != 1 || list.Wides != 1 || list.Wide[0].String() != "10.0.0.0/8" {
		t.Errorf("wide: %v, %d", list.Wide, list.Wides)
	}
	if one := mustList(t, "192.0.2.1\n192.0.2.1"); one.String() != "192.0.2.1" {
		t.Errorf("one prefix twice is %v", one)
	}
}

// TestListReadsBack: what is sent is read as what was meant.
func TestListReadsBack(t *testing.T) {
	var text strings.Builder
	const n = 5000
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		fmt.Fprintf(&text, "10.%d.%d.0/24 # %s\n", i>>8, i&255, strings.Repeat("x", i%control.MaxReason))
	}
	sent, err := io.ReadAll(mustList(t, text.String()))
	if err != nil {
		t.Fatal(err)
	}
	again, err := io.ReadAll(mustList(t, string(sent)))
	if err != nil || string(again) != string(sent) || strings.Count(string(sent), "\n") != n {
		t.Errorf("%d lines are read back as %d, %v", strings.Count(string(sent), "\n"), strings.Count(string(again), "\n"), err)
	}
}
