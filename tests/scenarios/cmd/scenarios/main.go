// Command scenarios writes labelled mail logs and scores decisions on them:
//
//	scenarios write -seed 7 -o mail.log -truth truth.jsonl
//	weir replay --output jsonl mail.log | scenarios score -truth truth.jsonl -
//	scenarios table -seeds training
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"weir/tests/scenarios"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "scenarios:", err)
		os.Exit(1)
	}
}

func run(args []string, stdin io.Reader, stdout io.Writer) error {
	commands := map[string]func([]string, io.Reader, io.Writer) error{"write": write, "score": score, "table": table}
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New("usage: scenarios write|score|table [FLAG...]; each has -help")
	}
	return commands[args[0]](args[1:], stdin, stdout)
}

// write writes a scenario's log and truth.
func write(args []string, _ io.Reader, stdout io.Writer) error {
	flags := flag.NewFlagSet("scenarios write", flag.ContinueOnError)
	seed := flags.Uint64("seed", 0, "the scenario's `number`, which decides all that is not said")
	days := flags.Int("days", 0, "`length` of the log; 0: as the seed says")
	users := flags.Int("users", 0, "how many `users`; 0: as the seed says")
	mix := flags.Int("mix", -1, "servers, a `number`: 0 Postfix, 1 Postfix and Dovecot, 2 Exim and Dovecot, 3 all; -1: as the seed says")
	cold := flags.String("cold", "", "whether attacks begin with the log: `true` or false; empty: as the seed says")
	only := flags.String("attacks", "", "`names` of the attacks to take part, with commas between; none: no attack; empty: all")
	output := flags.String("o", "-", "write the log to `file`")
	truth := flags.String("truth", "", "write the truth to `file`; empty: not at all")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o := scenarios.OptionsOf(*seed)
	if *days > 0 {
		o.Days = *days
	}
	if *users > 0 {
		o.Users = *users
	}
	if *mix >= 0 {
		o.Mix = scenarios.Mix(*mix)
	}
	if *cold != "" {
		var err error
		if o.Cold, err = strconv.ParseBool(*cold); err != nil {
			return fmt.Errorf("-cold: %w", err)
		}
	}
	switch *only {
	case "":
	case "none":
		o.Quiet = true
	default:
		o.Attacks = strings.Split(*only, ",")
	}
	s, err := scenarios.New(o)
	if err != nil {
		return err
	}
	log, beside := stdout, io.Discard
	var files []*os.File
	for _, out := range []struct {
		path string
		to   *io.Writer
	}{{*output, &log}, {*truth, &beside}} {
		if out.path == "" || out.path == "-" {
			continue
		}
		f, err := os.Create(out.path)
		if err != nil {
			return err
		}
		files = append(files, f)
		*out.to = f
	}
	err = s.Write(log, beside)
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// score judges decisions that were made elsewhere.
func score(args []string, stdin io.Reader, stdout io.Writer) error {
	flags := flag.NewFlagSet("scenarios score", flag.ContinueOnError)
	path := flags.String("truth", "truth.jsonl", "the truth beside the log, a `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("score: name the file with the decisions, or - for standard input")
	}
	f, err := os.Open(*path)
	if err != nil {
		return err
	}
	defer f.Close()
	truth, err := scenarios.ReadTruth(f)
	if err != nil {
		return err
	}
	if flags.Arg(0) != "-" {
		d, err := os.Open(flags.Arg(0))
		if err != nil {
			return err
		}
		defer d.Close()
		stdin = d
	}
	decisions, err := scenarios.ReadDecisions(stdin)
	if err != nil {
		return err
	}
	_, err = io.WriteString(stdout, scenarios.Table(truth.Parties, []scenarios.Column{{Name: "score", Scores: []*scenarios.Score{truth.Judge(decisions)}}}))
	return err
}
