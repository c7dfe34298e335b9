package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"weir/tests/bench/live"
)

// warmRow is what one packet costs a program that sees it again and again.
type warmRow struct {
	program, what string
	flagged       uint32
	ns            float64
	missing       string
}

// warmRepeat is how many packets one round has.
const warmRepeat = 1_000_000

// warmProgram is a program and the packets that it is shown.
type warmProgram struct {
	name    string
	program *ebpf.Program
	flagged uint32
	shown   []warmShown
}

type warmShown struct {
	what  string
	frame []byte
	want  uint32
}

// warm measures programs with BPF_PROG_TEST_RUN: the least of several rounds,
// since whatever else happens on the core only adds to it. The rounds of the
// programs take turns.
func (b *datapathBench) warm() (rows []warmRow, err error) {
	programs, closing, err := b.warmPrograms()
	defer func() {
		for _, close := range closing {
			err = errors.Join(err, close())
		}
	}()
	if err != nil {
		return nil, err
	}
	for round := range b.rounds {
		at := 0
		for _, p := range programs {
			for _, s := range p.shown {
				verdict, took, err := p.program.Benchmark(s.frame, warmRepeat, nil)
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", p.name, s.what, err)
				}
				if verdict != s.want {
					return nil, fmt.Errorf("%s, %s: the verdict is %d, want %d", p.name, s.what, verdict, s.want)
				}
				ns := float64(took) / float64(time.Nanosecond)
				if round == 0 {
					rows = append(rows, warmRow{program: p.name, what: s.what, flagged: p.flagged, ns: ns})
				}
				rows[at].ns = min(rows[at].ns, ns)
				at++
			}
		}
	}
	if b.xdp == nil {
		rows = append(rows, warmRow{program: "xdp-filter", missing: "see above"})
	}
	return rows, nil
}

func (b *datapathBench) warmPrograms() (list []warmProgram, closing []func() error, err error) {
	four := live.Traffic{Port: protectedPort, Opening: true}
	six, session, other, other6 := four, four, four, four
	six.IPv6 = true
	session.Opening = false
	other.Port = otherPort
	other6.IPv6, other6.Port = true, otherPort
	show := func(what string, t live.Traffic, i uint32, want uint32) warmShown {
		return warmShown{what, b.link.Frame(t, i), want}
	}

	empty, err := emptyProgram(xdpDrop)
	if err != nil {
		return nil, nil, err
	}
	closing = append(closing, empty.Close)
	list = append(list, warmProgram{"empty program", empty, 0, []warmShown{show("drops", four, 0, xdpDrop)}})
	for _, w := range b.weirs {
		p, err := w.program()
		if err != nil {
			return nil, closing, err
		}
		closing = append(closing, p.Close)
		list = append(list, warmProgram{"weir", p, w.flagged, []warmShown{
			show("drops IPv4", four, 0, xdpDrop),
			show("drops IPv6", six, 0, xdpDrop),
			show("passes an opening, IPv4", four, unflagged, xdpPass),
			show("passes an opening, IPv6", six, unflagged, xdpPass),
			show("passes a session, IPv4", session, unflagged, xdpPass),
			show("passes another port, IPv4", other, 0, xdpPass),
			show("passes another port, IPv6", other6, 0, xdpPass),
		}})
	}
	if b.xdp != nil {
		list = append(list, warmProgram{"xdp-filter, addresses alone", b.xdp.program(), b.xdp.flagged, []warmShown{
			show("drops IPv4", four, 0, xdpDrop),
			show("passes IPv4", four, unflagged, xdpPass),
		}})
	}
	return list, closing, nil
}
