package main

import (
	"slices"
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
	got := (&run{kernel: kernel{kind: "6.1"}, results: results}).report(&out, options{run: "some"})
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
	skipped := machine.Result{Package: guestTests.pkg, Test: "TestOldKernelIsRefused", Outcome: "skip"}
	r := run{kernel: kernel{"6.1", []job{guestTests}}, results: []machine.Result{skipped}}
	var out strings.Builder
	if got, want := r.report(&out, options{}), (tally{skipped: 1}); got != want {
		t.Errorf("%+v, want %+v\n%s", got, want, out.String())
	}
	r.results[0].Outcome = "pass"
	if got, want := r.report(&out, options{}), (tally{passed: 1, failed: 1}); got != want {
		t.Errorf("%+v, want %+v\n%s", got, want, out.String())
	}
}

// What is tried once more is what failed, and what had no turn.
func TestLeft(t *testing.T) {
	r := run{kernel: kernel{"6.1", []job{guestTests, {pkg: "./loader"}, {pkg: "./tests/e2e", run: "^TestOne$"}, {pkg: "./userspace/agent"}}}}
	r.results = []machine.Result{
		{Package: guestTests.pkg, Test: "TestOldKernelIsRefused", Outcome: "skip"},
		{Package: "./loader", Test: "TestA/one", Outcome: "fail"},
		{Package: "./loader", Test: "TestA", Outcome: "fail"},
		{Package: "./loader", Test: "TestB", Outcome: "skip"},
		{Package: "./loader", Test: "TestC", Outcome: "pass"},
		{Package: "./tests/e2e", Outcome: "fail"},
	}
	want := []job{{pkg: "./loader", run: "^(TestA|TestB)$"}, {pkg: "./tests/e2e", run: "^TestOne$"}, {pkg: "./userspace/agent"}}
	if got := r.left(); got.kind != "6.1" || !slices.Equal(got.jobs, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := r.failures(); got != 4 {
		t.Errorf("%d failures are tried once more, want 4", got)
	}
}

// A guest that ends amid a package has failed, and the package as a whole with it.
func TestCutShort(t *testing.T) {
	cut, _, _ := strings.Cut(written, "guest: end ./loader")
	results, err := machine.Results(t.Context(), "go", []byte(cut))
	if err == nil || !strings.Contains(err.Error(), "./loader did not end") {
		t.Errorf("%v", err)
	}
	if !slices.ContainsFunc(results, func(r machine.Result) bool { return r.Test == "" && r.Outcome == "fail" }) {
		t.Errorf("%+v", results)
	}
}
