package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"weir/loader"
	"weir/tests/bench/live"
	"weir/tests/document"
	"weir/tests/lab"
)

// floodOptions say what to measure of a good client under a flood.
type floodOptions struct {
	sources uint32        // how many flood, all of them flagged
	rates   []float64     // of the flood, frames a second; 0: as many as a core makes
	length  time.Duration // of a row
	update  string        // file to write the table to
}

// gigabit is how many of the shortest frames a gigabit link carries a second
// (IEEE 802.3: 64 bytes, 8 of preamble, 12 of gap).
const gigabit = 1e9 / (8 * (64 + 8 + 12))

// runFlood is the command's third part: what a good client notices of a flood.
func runFlood(ctx context.Context, args []string) error {
	// The last one is more than any host takes in.
	o := floodOptions{rates: []float64{gigabit / 2, gigabit, 0}}
	var sources uint
	flags := flag.NewFlagSet("bench flood", flag.ContinueOnError)
	flags.UintVar(&sources, "sources", 1_000_000, "how many flagged `sources` flood")
	flags.DurationVar(&o.length, "for", 12*time.Second, "how `long` a row takes")
	flags.StringVar(&o.update, "update", "", "write the table to `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if sources == 0 || sources > 1<<24 || o.length <= 0 {
		return errors.New("nothing to measure")
	}
	o.sources = uint32(sources)
	ctx, cancel := context.WithTimeout(ctx, longestBench)
	defer cancel()
	report, err := benchFlood(ctx, o)
	if err != nil {
		return err
	}
	fmt.Print(report)
	if o.update != "" {
		return document.Replace(o.update, floodBegin, floodEnd, report.String())
	}
	return nil
}

// floodRow is one contender under one flood, and what good clients met.
type floodRow struct {
	contender string
	flood     bool
	rate      float64 // as floodOptions has it
	gate      gate
	open      bool   // it lets everything in
	missing   string // why it cannot run

	made, judged float64 // frames a second
	cookies      uint64  // SYN cookies that the host has sent
	greetings    tries   // a connection, until the server's greeting has come
	mails        tries   // a message of 1 MiB, from connection to acknowledgement
}

// benchFlood measures all rows, on one mail host.
func benchFlood(ctx context.Context, o floodOptions) (_ *floodReport, err error) {
	s, err := newFloodStage(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	rows, err := s.rows(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.missing != "" {
			say("%s WILL NOT BE MEASURED: %s", r.contender, r.missing)
			continue
		}
		say("%s, flood %s", r.contender, r.offered())
		if err := s.measure(ctx, o, r); err != nil {
			return nil, fmt.Errorf("%s: %w", r.contender, err)
		}
	}
	return &floodReport{floodOptions: o, rows: rows, load: loadAverage()}, nil
}

// rows are the contenders, each under each flood, and first the host at peace.
func (s *floodStage) rows(ctx context.Context, o floodOptions) ([]*floodRow, error) {
	say("flagging %d sources with weir", o.sources)
	w, err := openWeir(s.link, s.lab.Path("bpf", "weir"), o.sources)
	if err != nil {
		return nil, err
	}
	s.closing = append(s.closing, w.Close)
	if err := w.flag(ctx, live.Traffic{Count: o.sources}, loader.Entry{Action: loader.ActionDrop}); err != nil {
		return nil, err
	}
	limit, err := floodProgram()
	if err != nil {
		return nil, err
	}
	s.closing = append(s.closing, limit.Close)
	pass, err := emptyProgram(xdpPass)
	if err != nil {
		return nil, err
	}
	s.closing = append(s.closing, pass.Close)
	nothing := &programGate{link: s.link, program: pass, passes: true}
	t := tool{ctx, s.link.Host}
	filter, missing := "nftables, netdev ingress", ""
	version, err := t.version("nft")
	var set gate
	if err == nil {
		filter += " (" + version + ")"
		say("flagging as many with nftables")
		set, err = newNFTGate(t, "netdev", "hook ingress device "+live.Interface+" priority 0", o.sources)
	}
	if err != nil {
		missing = err.Error()
	}
	rows := []*floodRow{{contender: "no flood", gate: nothing, open: true}}
	for _, rate := range o.rates {
		rows = append(rows,
			&floodRow{contender: "program of one comparison", flood: true, rate: rate, gate: &programGate{link: s.link, program: limit}},
			&floodRow{contender: "weir", flood: true, rate: rate, gate: &exitGate{w, "dropped"}},
			&floodRow{contender: filter, flood: true, rate: rate, gate: &behind{nothing, set}, missing: missing},
			&floodRow{contender: "nothing", open: true, flood: true, rate: rate, gate: nothing})
	}
	return rows, nil
}

// floodProgram is the limit: it knows the flood by the first bits of its
// sources (see live.Source4) and passes all else.
func floodProgram() (*ebpf.Program, error) {
	const pass = "pass"
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "comparison", Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{
			// struct xdp_md: data, data_end
			asm.LoadMem(asm.R2, asm.R1, 0, asm.Word),
			asm.LoadMem(asm.R3, asm.R1, 4, asm.Word),
			asm.Mov.Reg(asm.R4, asm.R2),
			asm.Add.Imm(asm.R4, 34), // Ethernet's header and IPv4's
			asm.JGT.Reg(asm.R4, asm.R3, pass),
			asm.LoadMem(asm.R4, asm.R2, 12, asm.Half),
			asm.HostTo(asm.BE, asm.R4, asm.Half),
			asm.JNE.Imm(asm.R4, 0x0800, pass),
			asm.LoadMem(asm.R4, asm.R2, 26, asm.Byte), // the source's first
			asm.RSh.Imm(asm.R4, 5),
			asm.JNE.Imm(asm.R4, 64>>5, pass), // 64.0.0.0/3
			asm.Mov.Imm(asm.R0, xdpDrop),
			asm.Return(),
			asm.Mov.Imm(asm.R0, xdpPass).WithSymbol(pass),
			asm.Return(),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("load program of one comparison: %w", err)
	}
	return p, nil
}

// behind is a gate in the stack, behind an empty XDP program: without one,
// veth hands over what sockets have sent by another way than the flood.
type behind struct{ first, gate gate }

func (b *behind) enter() error {
	if err := b.first.enter(); err != nil {
		return err
	}
	return b.gate.enter()
}

func (b *behind) leave() error           { return errors.Join(b.gate.leave(), b.first.leave()) }
func (b *behind) count() (uint64, error) { return b.gate.count() }

// onset is how long the flood rises before good clients come.
const onset = 500 * time.Millisecond

// measure has good clients come, while the flood does.
func (s *floodStage) measure(ctx context.Context, o floodOptions, r *floodRow) (err error) {
	if err := r.gate.enter(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.gate.leave()) }()
	if err := s.settle(); err != nil {
		return err
	}
	flood, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	before, err := s.counts(r)
	if err != nil {
		return err
	}
	began := time.Now()
	var made uint64
	go func() {
		var err error
		if r.flood {
			made, err = s.link.Flood(flood, live.Traffic{Port: protectedPort, Opening: true, Count: o.sources, Checksum: true}, r.rate)
		}
		ended <- err
	}()
	time.Sleep(onset)
	r.greetings, r.mails = s.clients(ctx, o.length)
	stop()
	if err := <-ended; err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	time.Sleep(settled)
	after, err := s.counts(r)
	r.made, r.judged = float64(made)/took, float64(after.judged-before.judged)/took
	r.cookies = after.cookies - before.cookies
	return err
}

// goodClient is the first of the good clients' addresses.
var goodClient = lab.NetB.Addr().Next()
