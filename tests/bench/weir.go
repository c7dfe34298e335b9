package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"weir/policy"
	"weir/userspace/intake"
	"weir/userspace/maillog"
)

// newContenders returns all, also those that are missing: their rows say so.
func newContenders(folder string, o options) ([]*contender, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	weir := absolute(o.weir)
	replay := []string{weir, "replay", "--config", os.DevNull, "--output", "none"}
	list := []*contender{
		{name: "grep -c, one fixed string", cores: 1, args: []string{"grep", "-c", "-F", "authentication failed"}},
		{name: "weir's parser alone", cores: 1, args: []string{self, "parse"}},
		{name: "weir replay", cores: 1, args: replay, tell: append(replay[:len(replay):len(replay)], "--events"), told: weirTold},
		{name: "weir replay", cores: 2, args: replay},
	}
	if _, err := os.Stat(weir); err != nil {
		list[2].missing, list[3].missing = "no "+o.weir+": make build", "no "+o.weir+": make build"
	}
	list = append(list, newSSHGuard(o))
	list = append(list, newFail2ban(o)...)
	crowdsec, err := newCrowdSec(folder, o)
	if err != nil {
		return nil, fmt.Errorf("set up CrowdSec: %w", err)
	}
	list = append(list, crowdsec)
	for _, c := range list {
		// Not the slow ones: they would keep everybody else waiting, and
		// CrowdSec waits for itself by spinning, which then never ends.
		c.urgent = o.realtime && !c.slow
	}
	return list, nil
}

// parse reads a log with weir's parser and nothing else.
func parse(path string) error {
	log, _, err := intake.OpenReplay(path)
	if err != nil {
		return err
	}
	defer log.Close()
	p := maillog.NewParser(maillog.Options{Location: time.UTC})
	events := make([]policy.Event, 0, 32)
	told := 0
	err = intake.Lines(log, func(line []byte, number uint64) error {
		events = p.Line(line, number, events[:0])
		told += len(events)
		return nil
	})
	fmt.Println(told)
	return err
}

// weirTold reads what replay --events writes.
func weirTold(stdout io.Reader) (refusals, error) {
	told := refusals{}
	for decoder := json.NewDecoder(stdout); ; {
		var e struct {
			Kind   policy.Kind
			Source netip.Addr
		}
		switch err := decoder.Decode(&e); {
		case errors.Is(err, io.EOF):
			return told, nil
		case err != nil:
			return nil, fmt.Errorf("read events: %w", err)
		}
		if e.Kind == policy.AuthFailure {
			told[e.Source]++
		}
	}
}
