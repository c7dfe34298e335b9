package live

import (
	gocontext "context"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// pace lets the generator make frames at a rate, evenly: between two frames it
// goes round without making one, as making them in bursts would fill the other
// end's queue. The state is one value of a map.
type pace struct {
	interval time.Duration // between two frames; 0: none
	state    *ebpf.Map
}

// paceState is that value: when the next frame is due, in CLOCK_MONOTONIC, and
// how many were made.
type paceState struct{ Due, Made uint64 }

// How often one system call of a flood goes round: beginning and ending it take
// the kernel some 30 ms, in which nothing comes.
const (
	roundsFull  = 1 << 21 // each makes a frame
	roundsPaced = 1 << 23 // most make none
)

// arrears is how late a frame may be and still be made up for.
const arrears = 100 * time.Microsecond

func newPace(rate float64) (*pace, error) {
	p := &pace{}
	if rate > 0 {
		p.interval = time.Duration(1e9 / rate)
	}
	var err error
	p.state, err = ebpf.NewMap(&ebpf.MapSpec{Name: "pace", Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("make map of the pace: %w", err)
	}
	return p, nil
}

// steps go on when a frame is due, and count it. They lose R0 to R5.
func (p *pace) steps() asm.Instructions {
	const pastDue = "past_due"
	steps := asm.Instructions{
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, p.state.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, noRoom),
		asm.Mov.Reg(paced, asm.R0),
	}
	if p.interval > 0 {
		steps = append(steps,
			asm.FnKtimeGetNs.Call(),
			asm.LoadMem(asm.R1, paced, 0, asm.DWord),
			asm.JLT.Reg(asm.R0, asm.R1, early),
			asm.Add.Imm(asm.R1, int32(p.interval)),
			asm.Sub.Imm(asm.R0, int32(arrears)),
			asm.JGE.Reg(asm.R1, asm.R0, pastDue),
			asm.Mov.Reg(asm.R1, asm.R0),
			asm.StoreMem(paced, 0, asm.R1, asm.DWord).WithSymbol(pastDue),
		)
	}
	return append(steps,
		asm.LoadMem(asm.R1, paced, 8, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(paced, 8, asm.R1, asm.DWord),
	)
}

// Flood makes traffic on this thread's core until ctx ends, at a rate in
// frames a second, or as fast as it can if that is 0. It returns how many
// frames it made. Those that the other end has no room for are lost, as on a
// wire.
func (l *Link) Flood(ctx gocontext.Context, t Traffic, rate float64) (frames uint64, err error) {
	p, err := newPace(rate)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.state.Close()) }()
	program, err := l.program(t, p)
	if err != nil {
		return 0, err
	}
	g := &Generator{link: l, program: program, template: l.Frame(t, 0)}
	defer func() { err = errors.Join(err, g.Close()) }()
	err = l.world.Do(func() error {
		if err := blockSignals(); err != nil { // they would end a burst early
			return err
		}
		// Others on this core, who may be measured, go first.
		have, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // 20 less niceness
		if err != nil {
			return err
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, 20-have+5); err != nil {
			return err
		}
		rounds := uint32(roundsFull)
		if p.interval > 0 {
			rounds = roundsPaced
		}
		for ctx.Err() == nil {
			if _, err := g.burst(rounds); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("flood: %w", err)
	}
	var state paceState
	if err := p.state.Lookup(uint32(0), &state); err != nil {
		return 0, fmt.Errorf("read the pace: %w", err)
	}
	return state.Made, nil
}
