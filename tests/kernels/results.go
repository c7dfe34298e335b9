package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"weir/tests/machine"
)

// tally counts results. Skips that are not explained are failures too.
type tally struct{ passed, failed, skipped int }

func (t *tally) add(u tally) {
	t.passed += u.passed
	t.failed += u.failed
	t.skipped += u.skipped
}

// run is what became of the tests on a kernel.
type run struct {
	kernel
	results []machine.Result
	took    time.Duration
	err     error // of the guest
}

func (r *run) test(ctx context.Context, o options, binaries string) {
	start := time.Now()
	r.results, r.err = r.boot(ctx, o, binaries)
	r.took = time.Since(start)
}

// failed reports whether a test did; so does one that is skipped, and nobody says why.
func (r *run) failed(t machine.Result) bool {
	return t.Outcome == "fail" || t.Outcome == "skip" && expected[skip{r.kind, t.Package, t.Test}] == ""
}

// left is the kernel with what failed on it, or did not get its turn.
func (r *run) left() kernel {
	left := kernel{kind: r.kind}
	for _, j := range r.jobs {
		var tests []string
		ran := false
		for _, t := range r.results {
			if t.Package != j.pkg {
				continue
			}
			ran = true
			if name, _, _ := strings.Cut(t.Test, "/"); r.failed(t) && !slices.Contains(tests, name) {
				tests = append(tests, name)
			}
		}
		switch {
		case !ran || slices.Contains(tests, ""): // the package as a whole
			left.jobs = append(left.jobs, j)
		case len(tests) > 0:
			left.jobs = append(left.jobs, job{pkg: j.pkg, run: "^(" + strings.Join(tests, "|") + ")$"})
		}
	}
	return left
}

// failures is how many there are of which left has the tests.
func (r *run) failures() (n int) {
	for _, t := range r.results {
		if r.failed(t) {
			n++
		}
	}
	if r.err != nil || len(r.results) == 0 {
		n++
	}
	return n
}

// report writes what became of the tests on a kernel: failures with all that
// they said, skips with their reason. Where all tests ran, the skips that
// were expected must have happened.
func (r *run) report(w io.Writer, o options) tally {
	total := tally{failed: r.failures()}
	seen := make(map[skip]bool)
	fmt.Fprintf(w, "\nLinux %s (%s)\n", r.kind, r.took.Round(time.Second))
	var pkg string
	for i, t := range r.results {
		if t.Package != pkg {
			pkg = t.Package
			of, seconds := count(r.results[i:], pkg)
			fmt.Fprintf(w, "  %-24s %3d passed, %d failed, %d skipped, %.0f s\n", pkg, of.passed, of.failed, of.skipped, seconds)
		}
		s := skip{r.kind, t.Package, t.Test}
		switch {
		case r.failed(t) && t.Outcome == "skip":
			fmt.Fprintf(w, "    SKIPPED, and expected.go does not say why: %s\n%s\n", t.Test, t.Output)
		case r.failed(t):
			fmt.Fprintf(w, "    FAILED %s\n%s\n", t.Test, t.Output)
		case t.Outcome == "skip":
			total.skipped++
			seen[s] = true
			fmt.Fprintf(w, "    SKIPPED %s: %s\n", t.Test, expected[s])
		default:
			total.passed++
			if o.verbose {
				fmt.Fprint(w, t.Output)
			}
		}
	}
	for s, why := range expected {
		if s.kind == r.kind && r.ranWhole(o, s.pkg) && !seen[s] {
			total.failed++
			fmt.Fprintf(w, "    NOT SKIPPED, as expected.go says: %s %s: %s\n", s.pkg, s.test, why)
		}
	}
	if r.err != nil {
		fmt.Fprintf(w, "    FAILED: %v\n", r.err)
	} else if len(r.results) == 0 {
		fmt.Fprintln(w, "    FAILED: no test ran")
	}
	return total
}

// ranWhole reports whether all of a package's tests were run.
func (r *run) ranWhole(o options, pkg string) bool {
	return o.run == "" && slices.Contains(r.jobs, job{pkg: pkg}) &&
		slices.ContainsFunc(r.results, func(t machine.Result) bool { return t.Package == pkg })
}

// count sums up a package, whose results stand together.
func count(results []machine.Result, pkg string) (t tally, seconds float64) {
	for _, r := range results {
		if r.Package != pkg {
			break
		}
		switch r.Outcome {
		case "pass":
			t.passed++
		case "skip":
			t.skipped++
		default:
			t.failed++
		}
		if !strings.Contains(r.Test, "/") {
			seconds += r.Seconds
		}
	}
	return t, seconds
}
