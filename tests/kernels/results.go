package main

import (
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

// report writes what became of the tests on a kernel: failures with all that
// they said, skips with their reason. Where all tests ran, the skips that
// were expected must have happened.
func (o options) report(w io.Writer, kind string, results []machine.Result, took time.Duration) tally {
	total := new(tally)
	seen := make(map[skip]bool)
	fmt.Fprintf(w, "\nLinux %s (%s)\n", kind, took.Round(time.Second))
	var pkg string
	for i, r := range results {
		if r.Package != pkg {
			pkg = r.Package
			of, seconds := count(results[i:], pkg)
			fmt.Fprintf(w, "  %-24s %3d passed, %d failed, %d skipped, %.0f s\n", pkg, of.passed, of.failed, of.skipped, seconds)
		}
		switch s := (skip{kind, r.Package, r.Test}); {
		case r.Outcome == "pass":
			total.passed++
			if o.verbose {
				fmt.Fprint(w, r.Output)
			}
		case r.Outcome == "skip" && expected[s] != "":
			total.skipped++
			seen[s] = true
			fmt.Fprintf(w, "    SKIPPED %s: %s\n", r.Test, expected[s])
		case r.Outcome == "skip":
			total.failed++
			fmt.Fprintf(w, "    SKIPPED, and expected.go does not say why: %s\n%s\n", r.Test, r.Output)
		default:
			total.failed++
			fmt.Fprintf(w, "    FAILED %s\n%s\n", r.Test, r.Output)
		}
	}
	for s, why := range expected {
		ran := slices.ContainsFunc(results, func(r machine.Result) bool { return r.Package == s.pkg })
		if o.run == "" && s.kind == kind && ran && !seen[s] {
			total.failed++
			fmt.Fprintf(w, "    NOT SKIPPED, as expected.go says: %s %s: %s\n", s.pkg, s.test, why)
		}
	}
	if len(results) == 0 {
		total.failed++
		fmt.Fprintln(w, "    FAILED: no test ran")
	}
	return *total
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
