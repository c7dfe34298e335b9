package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// Result is what became of one test in a guest.
type Result struct {
	Package, Test string // Test is empty where the package as a whole failed
	Outcome       string // pass, fail or skip
	Output        string
	Seconds       float64
}

// Results takes apart what a guest wrote. What a test binary wrote there, with
// -test.v=test2json, stands between the lines "guest: begin PACKAGE" and "guest:
// end PACKAGE STATUS"; goTool is the go command.
func Results(ctx context.Context, goTool string, out []byte) ([]Result, error) {
	var results []Result
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
		failed := string(bytes.TrimSpace(status)) != "0"
		for _, r := range got {
			failed = failed && r.Outcome != "fail"
		}
		if failed || !ended {
			got = append(got, Result{Package: pkg, Outcome: "fail", Output: string(Last(text))})
		}
		results = append(results, got...)
	}
}

// event is a line of test2json's (go doc test2json).
type event struct {
	Action, Test, Output string
	Elapsed              float64
}

func readPackage(ctx context.Context, goTool, pkg string, text []byte) ([]Result, error) {
	cmd := exec.CommandContext(ctx, goTool, "tool", "test2json", "-t") // with times
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("read the output of %s: %w", pkg, err)
	}
	var results []Result
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
				results = append(results, Result{pkg, e.Test, e.Action, said[e.Test], e.Elapsed})
			}
		}
	}
}
