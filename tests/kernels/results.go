package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// result is what became of one test on one kernel.
type result struct {
	pkg, test string // test is empty where the package as a whole failed
	outcome   string // pass, fail or skip
	output    string
	seconds   float64
}

// read takes apart what a guest wrote (see guest.sh).
func read(ctx context.Context, goTool string, out []byte) ([]result, error) {
	var results []result
	var errs []error
	for {
		_, rest, found := bytes.Cut(out, []byte("guest: begin "))
		if !found {
			return results, errors.Join(errs...)
		}
		head, rest, _ := bytes.Cut(rest, []byte("\n"))
		pkg := strings.TrimSpace(string(head))
		text, rest, ended := bytes.Cut(rest, []byte("guest: end "+pkg+" "))
		status, rest, _ := bytes.Cut(rest, []byte("\n"))
		if out = rest; !ended {
			errs = append(errs, fmt.Errorf("%s did not end", pkg))
		}
		got, err := readPackage(ctx, goTool, pkg, text)
		errs = append(errs, err)
		failed := ended && string(bytes.TrimSpace(status)) != "0"
		for _, r := range got {
			failed = failed && r.outcome != "fail"
		}
		if failed {
			got = append(got, result{pkg: pkg, outcome: "fail", output: string(last(text))})
		}
		results = append(results, got...)
	}
}

// event is a line of test2json's (go doc test2json).
type event struct {
	Action, Test, Output string
	Elapsed              float64
}

func readPackage(ctx context.Context, goTool, pkg string, text []byte) ([]result, error) {
	cmd := exec.CommandContext(ctx, goTool, "tool", "test2json", "-t") // with times
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("read the output of %s: %w", pkg, err)
	}
	var results []result
	said := make(map[string]string)
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var e event
		if err := decoder.Decode(&e); errors.Is(err, io.EOF) {
			return results, nil
		} else if err != nil {
			return nil, fmt.Errorf("read the output of %s: %w", pkg, err)
		}
		switch e.Action {
		case "output":
			if !strings.HasPrefix(strings.TrimSpace(e.Output), "=== ") {
				said[e.Test] += e.Output
			}
		case "pass", "fail", "skip":
			if e.Test != "" {
				results = append(results, result{pkg, e.Test, e.Action, said[e.Test], e.Elapsed})
			}
		}
	}
}

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
func (o options) report(w io.Writer, kind string, results []result, took time.Duration) tally {
	total := new(tally)
	seen := make(map[skip]bool)
	fmt.Fprintf(w, "\nLinux %s (%s)\n", kind, took.Round(time.Second))
	var pkg string
	for i, r := range results {
		if r.pkg != pkg {
			pkg = r.pkg
			of, seconds := count(results[i:], pkg)
			fmt.Fprintf(w, "  %-24s %3d passed, %d failed, %d skipped, %.0f s\n", pkg, of.passed, of.failed, of.skipped, seconds)
		}
		switch s := (skip{kind, r.pkg, r.test}); {
		case r.outcome == "pass":
			total.passed++
			if o.verbose {
				fmt.Fprint(w, r.output)
			}
		case r.outcome == "skip" && expected[s] != "":
			total.skipped++
			seen[s] = true
			fmt.Fprintf(w, "    SKIPPED %s: %s\n", r.test, expected[s])
		case r.outcome == "skip":
			total.failed++
			fmt.Fprintf(w, "    SKIPPED, and expected.go does not say why: %s\n%s\n", r.test, r.output)
		default:
			total.failed++
			fmt.Fprintf(w, "    FAILED %s\n%s\n", r.test, r.output)
		}
	}
	for s, why := range expected {
		ran := slices.ContainsFunc(results, func(r result) bool { return r.pkg == s.pkg })
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
func count(results []result, pkg string) (t tally, seconds float64) {
	for _, r := range results {
		if r.pkg != pkg {
			break
		}
		switch r.outcome {
		case "pass":
			t.passed++
		case "skip":
			t.skipped++
		default:
			t.failed++
		}
		if !strings.Contains(r.test, "/") {
			seconds += r.seconds
		}
	}
	return t, seconds
}
