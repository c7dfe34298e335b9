package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"weir/tests/bench/live"
)

// tool runs a program at the host's end.
type tool struct {
	ctx  context.Context
	host live.Place
}

func (t tool) run(stdin io.Reader, name string, args ...string) (out string, err error) {
	err = t.host.Do(func() error {
		cmd := exec.CommandContext(t.ctx, name, args...)
		cmd.Stdin = stdin
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		out = stdout.String()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", name, err, tail(stderr.String()))
		}
		return nil
	})
	return out, err
}

// do is run for those that say nothing.
func (t tool) do(stdin string, name string, args ...string) error {
	_, err := t.run(strings.NewReader(stdin), name, args...)
	return err
}

// version is the first word with a number in what the program says of itself,
// and what stands behind it in brackets.
func (t tool) version(name string) (string, error) {
	out, err := t.run(nil, name, "--version")
	version := regexp.MustCompile(`v[0-9][0-9.]*( \((nf_tables|legacy)\))?`).FindString(out)
	return strings.TrimSuffix(version, ","), err
}

// nftGate is a set of nftables, and a rule at a hook that drops what is in it.
// The set is made for its size at once, which gives the fastest kind of set.
type nftGate struct {
	tool
	table, hook string
	dropped     uint64
}

func newNFTGate(t tool, family, hook string, n uint32) (*nftGate, error) {
	g := &nftGate{tool: t, table: fmt.Sprintf("%s bench_%d", family, n), hook: hook}
	return g, g.fill(n)
}

func (g *nftGate) fill(n uint32) error {
	var text strings.Builder
	fmt.Fprintf(&text, "add table %s\n", g.table)
	fmt.Fprintf(&text, "add counter %s dropped\n", g.table)
	fmt.Fprintf(&text, "add set %s flagged { type ipv4_addr; size %d; }\n", g.table, n)
	const chunk = 1 << 14
	for i := range n {
		switch {
		case i == 0:
			fmt.Fprintf(&text, "add element %s flagged { ", g.table)
		case i%chunk == 0:
			fmt.Fprintf(&text, " }\nadd element %s flagged { ", g.table)
		default:
			text.WriteByte(',')
		}
		text.WriteString(live.Source4(i).String())
	}
	text.WriteString(" }\n")
	return g.do(text.String(), "nft", "-f", "-")
}

func (g *nftGate) enter() error {
	return g.do(fmt.Sprintf("add chain %s judge { type filter %s; }\n", g.table, g.hook)+
		fmt.Sprintf("add rule %s judge ip saddr @flagged counter name dropped drop\n", g.table), "nft", "-f", "-")
}

func (g *nftGate) leave() error {
	return g.do(fmt.Sprintf("flush chain %s judge\ndelete chain %s judge\n", g.table, g.table), "nft", "-f", "-")
}

// count takes what the counter has and begins it anew: to list it, nft would
// read all sets first.
func (g *nftGate) count() (uint64, error) {
	out, err := g.run(nil, "nft", append([]string{"reset", "counter"}, append(strings.Fields(g.table), "dropped")...)...)
	if err != nil {
		return 0, err
	}
	n, err := numberBehind(out, "packets")
	g.dropped += n
	return g.dropped, err
}

// numberBehind reads "… packets 17 …".
func numberBehind(text, word string) (uint64, error) {
	fields := strings.Fields(text)
	for i, f := range fields[:max(len(fields)-1, 0)] {
		if f == word {
			return strconv.ParseUint(fields[i+1], 10, 64)
		}
	}
	return 0, fmt.Errorf("no %s in %q", word, tail(text))
}

// ipsetGate is a set of ipset, and a rule of iptables in the first chain that
// IP packets meet.
type ipsetGate struct {
	tool
	set string
}

func newIPSetGate(t tool, n uint32) (*ipsetGate, error) {
	g := &ipsetGate{t, fmt.Sprintf("flagged_%d", n)}
	var text strings.Builder
	fmt.Fprintf(&text, "create %s hash:ip family inet maxelem %d\n", g.set, n)
	for i := range n {
		fmt.Fprintf(&text, "add %s %s\n", g.set, live.Source4(i))
	}
	return g, g.do(text.String(), "ipset", "restore")
}

func (g *ipsetGate) enter() error {
	return g.do("", "iptables", "-t", "raw", "-A", "PREROUTING", "-m", "set", "--match-set", g.set, "src", "-j", "DROP")
}

// leave takes the rule away, and the chain with it where it is one of
// nftables: else every packet of the others would go through it.
func (g *ipsetGate) leave() error {
	if err := g.do("", "iptables", "-t", "raw", "-F", "PREROUTING"); err != nil {
		return err
	}
	_, _ = g.run(nil, "nft", "delete", "table", "ip", "raw")
	return nil
}

// count reads the first rule's line: packets, bytes, target, and so on.
func (g *ipsetGate) count() (uint64, error) {
	out, err := g.run(nil, "iptables", "-t", "raw", "-nvxL", "PREROUTING")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "DROP" {
			return strconv.ParseUint(f[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("iptables shows no rule: %q", tail(out))
}

// peerRows are the kernel's own packet filters with n sources. One that
// cannot be used has a row that says why.
func (b *datapathBench) peerRows(ctx context.Context, n uint32, base *row) {
	t := tool{ctx, b.link.Host}
	traffic := base.traffic
	traffic.Count = n
	for _, p := range []struct {
		contender, program string
		make               func() (gate, error)
	}{
		{"nftables, netdev ingress", "nft", func() (gate, error) {
			return newNFTGate(t, "netdev", "hook ingress device "+live.Interface+" priority 0", n)
		}},
		{"nftables, inet input", "nft", func() (gate, error) {
			return newNFTGate(t, "inet", "hook input priority 0", n)
		}},
		{"ipset, iptables raw", "iptables", func() (gate, error) { return newIPSetGate(t, n) }},
	} {
		r := &row{contender: p.contender, what: "drops IPv4", flagged: n, traffic: traffic, base: base, plotted: p.contender}
		b.rows = append(b.rows, r)
		version, err := t.version(p.program)
		if err == nil {
			r.contender += " (" + version + ")"
			say("flagging %d sources with %s", n, r.contender)
			r.gate, err = p.make()
		}
		if err != nil {
			r.missing = err.Error()
			say("%s WILL NOT BE MEASURED: %s", r.contender, r.missing)
		}
	}
}
