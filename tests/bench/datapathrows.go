package main

import (
	"context"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"weir/tests/bench/live"
)

// Ports of the traffic: one that weir protects, and one that it does not.
const (
	protectedPort = 25
	otherPort     = 443
)

// unflagged is the number of the first source that nobody has flagged.
const unflagged = 1 << 28

// Answers of an XDP program (enum xdp_action).
const (
	xdpDrop = 1
	xdpPass = 2
)

// fill makes all gates, and the rows in which they stand.
func (b *datapathBench) fill(ctx context.Context) error {
	opening := live.Traffic{Port: protectedPort, Opening: true, Count: 1}
	pass := opening
	pass.Elsewhere = true
	four, err := b.empties(opening, pass)
	if err != nil {
		return err
	}
	opening.IPv6, pass.IPv6 = true, true
	six, err := b.empties(opening, pass)
	if err != nil {
		return err
	}
	if err := b.weirRows(ctx, four, six); err != nil {
		return err
	}
	if err := b.actionRows(ctx, four, six); err != nil {
		return err
	}
	if err := b.modeRows(ctx, four); err != nil {
		return err
	}
	for _, n := range b.peerSources {
		b.peerRows(ctx, n, four.drop)
	}
	return b.xdpFilterRow(four.drop)
}

// empties are the rows of the empty programs, for one family.
type empties struct{ drop, pass *row }

func (b *datapathBench) empties(drop, pass live.Traffic) (e empties, err error) {
	family := "IPv4"
	if drop.IPv6 {
		family = "IPv6"
	}
	drop.Count, pass.Count = 1<<20, 1<<20
	for _, r := range []struct {
		row     **row
		verdict int32
		what    string
		traffic live.Traffic
	}{{&e.drop, xdpDrop, "drops", drop}, {&e.pass, xdpPass, "passes", pass}} {
		p, err := emptyProgram(r.verdict)
		if err != nil {
			return e, err
		}
		b.closing = append(b.closing, p.Close)
		*r.row = &row{
			contender: "empty program", what: r.what + " " + family, traffic: r.traffic,
			gate: &programGate{link: b.link, program: p, passes: r.verdict == xdpPass},
		}
		b.rows = append(b.rows, *r.row)
	}
	return e, nil
}

// emptyProgram gives every packet the same answer.
func emptyProgram(verdict int32) (*ebpf.Program, error) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "empty", Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()},
	})
	if err != nil {
		return nil, fmt.Errorf("load empty program: %w", err)
	}
	return p, nil
}

// programGate is an XDP program that counts nothing itself: the driver does.
type programGate struct {
	link    *live.Link
	program *ebpf.Program
	passes  bool
	detach  func() error
}

func (g *programGate) enter() (err error) {
	g.detach, err = g.link.Attach(g.program)
	return err
}

func (g *programGate) leave() error { return g.detach() }

func (g *programGate) count() (uint64, error) {
	n, err := g.link.Statistics()
	if g.passes {
		return n.Arrived - n.Dropped, err
	}
	return n.Dropped, err
}
