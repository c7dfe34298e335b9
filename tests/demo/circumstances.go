package main

import (
	"context"
	"os"
	"strings"
	"time"
)

// stillness measures for how long the machine let this process wait: what
// happens on a host that stands still is not weir's doing.
type stillness struct {
	longest time.Duration
	stop    chan struct{}
	ended   chan struct{}
}

func watchStillness() *stillness {
	const every = 20 * time.Millisecond
	w := &stillness{stop: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-w.stop:
				return
			case <-tick.C:
				w.longest = max(w.longest, time.Since(last)-every)
				last = time.Now()
			}
		}
	}()
	return w
}

// end returns the longest time.
func (w *stillness) end() time.Duration {
	close(w.stop)
	<-w.ended
	return w.longest
}

// circumstances tells what may explain a broken promise: what the servers and
// the agent complained of, and what the kernel dropped elsewhere.
func (p *play) circumstances(ctx context.Context) {
	say := p.screen.say
	p.screen.title("Circumstances")
	var netstat []byte
	err := p.lab.Mail.Do(func() (err error) {
		netstat, err = os.ReadFile("/proc/thread-self/net/netstat")
		return err
	})
	if err != nil {
		say("  the host's counters cannot be read: %v", err)
	}
	names := strings.Fields("ListenOverflows ListenDrops TCPBacklogDrop TCPReqQFullDrop TCPTimeouts TCPAbortOnMemory PFMemallocDrop")
	for name, value := range columns(string(netstat), "TcpExt:") {
		for _, wanted := range names {
			if name == wanted && value != "0" {
				say("  mail host: %s %s", name, value)
			}
		}
	}
	if out, err := p.weir.Run(ctx, "status"); err == nil {
		p.excerpt(out, 60)
	}
	say("  the agent's last lines")
	p.tail(p.lab.Output("weir"), func(string) bool { return true })
	text, err := os.ReadFile(p.lab.MailLog())
	if err != nil {
		say("  the mail log cannot be read: %v", err)
	}
	say("  the servers' last complaints")
	p.tail(string(text), func(line string) bool {
		return !strings.Contains(line, "SASL") && (strings.Contains(line, "warning:") || strings.Contains(line, "fatal:") ||
			strings.Contains(line, "Error:") || strings.Contains(line, "Warning:"))
	})
}

// tail shows the last of the lines that matter.
func (p *play) tail(text string, matters func(line string) bool) {
	const most = 15
	var lines []string
	for line := range strings.Lines(text) {
		if matters(line) {
			lines = append(lines, line)
		}
	}
	p.excerpt(strings.Join(lines[max(0, len(lines)-most):], ""), most)
}

// columns reads a block of /proc/net/netstat: a line of names, and one of
// values.
func columns(text, block string) map[string]string {
	var names []string
	out := map[string]string{}
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, block)
		switch fields := strings.Fields(rest); {
		case !ok:
		case names == nil:
			names = fields
		default:
			for i := range min(len(names), len(fields)) {
				out[names[i]] = fields[i]
			}
		}
	}
	return out
}
