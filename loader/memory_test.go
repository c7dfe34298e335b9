package loader

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// What is told of memory is what the kernel says that the maps take.
func TestMemoryAtOnce(t *testing.T) {
	if !AtLeast(release(), 6, 4) {
		t.Skip("before 6.4 the kernel tells of maps what they could take, not what they do")
	}
	for _, capacity := range []int{1 << 10, 1 << 18, 300_000} {
		o := testOptions(t)
		o.Capacity = capacity
		d := mustOpen(t, o)
		var held int64
		for name, m := range d.maps() {
			info := must(os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", m.FD())))
			told := regexp.MustCompile(`memlock:\s+(\d+)`).FindSubmatch(info)
			if told == nil {
				t.Fatalf("%s: nothing is told of memory:\n%s", name, info)
			}
			held += must(strconv.ParseInt(string(told[1]), 10, 64))
		}
		got := must(MemoryAtOnce(capacity))
		t.Logf("capacity %d: %d bytes, the kernel says %d; %.0f for each entry", capacity, got, held, float64(got)/float64(capacity))
		if got < held*95/100-1<<16 || got > held*105/100 {
			t.Errorf("capacity %d: %d bytes, the kernel says %d", capacity, got, held)
		}
		mustDo(t, d.Close())
	}
}
