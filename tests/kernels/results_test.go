package main

import (
	"strings"
	"testing"

	"weir/tests/machine"
)

// What two packages write in a guest: one whose tests pass, fail and skip,
// one that dies.
const written = `guest: begin ./loader
` + "\x16" + `=== RUN   TestGood
` + "\x16" + `--- PASS: TestGood (1.50s)
` + "\x16" + `=== RUN   TestBad
    a_test.go:3: no such map
` + "\x16" + `--- FAIL: TestBad (0.10s)
` + "\x16" + `=== RUN   TestIdle
    a_test.go:9: needs Linux 6.6
` + "\x16" + `--- SKIP: TestIdle (0.00s)
` + "\x16" + `=== NAME  
FAIL
guest: end ./loader 1
guest: begin ./tests/e2e
panic: out of memory
guest: end ./tests/e2e 2
guest: done
`

func TestReport(t *testing.T) {
	results, err := machine.Results(t.Context(), "go", []byte(written))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	got := options{run: "some"}.report(&out, "6.1", results, 0)
	// The skip that nobody has explained, and the package that died, are failures.
	if want := (tally{passed: 1, failed: 3}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, words := range []string{
		"1 passed, 1 failed, 1 skipped, 2 s", "FAILED TestBad", "no such map",
		"does not say why: TestIdle", "needs Linux 6.6", "panic: out of memory",
	} {
		if !strings.Contains(out.String(), words) {
			t.Errorf("%q is not in:\n%s", words, out.String())
		}
	}
}

// A skip that was expected is none that fails, unless it did not happen.
func TestExpectedSkips(t *testing.T) {
	r := machine.Result{Package: "./tests/kernels/guest", Test: "TestOldKernelIsRefused", Outcome: "skip"}
	var out strings.Builder
	if got, want := (options{}).report(&out, "6.1", []machine.Result{r}, 0), (tally{skipped: 1}); got != want {
		t.Errorf("%+v, want %+v\n%s", got, want, out.String())
	}
	r.Outcome = "pass"
	if got, want := (options{}).report(&out, "6.1", []machine.Result{r}, 0), (tally{passed: 1, failed: 1}); got != want {
		t.Errorf("%+v, want %+v\n%s", got, want, out.String())
	}
}

// A guest that ends amid a package has failed.
func TestCutShort(t *testing.T) {
	cut, _, _ := strings.Cut(written, "guest: end ./loader")
	if _, err := machine.Results(t.Context(), "go", []byte(cut)); err == nil || !strings.Contains(err.Error(), "./loader did not end") {
		t.Errorf("%v", err)
	}
}
