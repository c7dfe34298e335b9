package live

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Registers of the generator. R0 to R5 are lost in calls.
const (
	random = asm.R6
	frame  = asm.R7
	source = asm.R8
	paced  = asm.R9
)

// Ways out that make no frame.
const (
	noRoom = "no_room"
	early  = "early"
)

// Where fields lie in a frame.
const (
	checksumAt    = etherLen + 10
	source4At     = etherLen + 12
	source6At     = etherLen + 8
	tcpChecksumAt = etherLen + ip4Len + 16
)

// program assembles the generator: it writes a whole frame, since the last
// one may have been changed by whoever got it, then a source over it, and
// redirects the frame into the link.
func (l *Link) program(t Traffic, p *pace) (*ebpf.Program, error) {
	zero := netip.IPv4Unspecified()
	if t.IPv6 {
		zero = netip.IPv6Unspecified()
	}
	template := t.frame(zero, l.hardware)
	steps := asm.Instructions{
		// struct xdp_md: data, data_end
		asm.LoadMem(frame, asm.R1, 0, asm.Word),
		asm.LoadMem(asm.R2, asm.R1, 4, asm.Word),
		asm.Mov.Reg(asm.R3, frame),
		asm.Add.Imm(asm.R3, int32(len(template))),
		asm.JGT.Reg(asm.R3, asm.R2, noRoom),
	}
	if p != nil {
		steps = append(steps, p.steps()...)
	}
	for at := 0; at < len(template); at += 4 {
		word := int32(binary.NativeEndian.Uint32(template[at:]))
		steps = append(steps, asm.StoreImm(frame, int16(at), int64(word), asm.Word))
	}
	steps = append(steps,
		// The upper bits of a 32-bit random number, times how many sources
		// there are, are a number below that.
		asm.FnGetPrandomU32.Call(),
		asm.Mov.Reg(random, asm.R0),
		asm.Mov.Reg(source, asm.R0),
		asm.LoadImm(asm.R1, int64(t.Count), asm.DWord),
		asm.Mul.Reg(source, asm.R1),
		asm.RSh.Imm(source, 32),
		asm.LoadImm(asm.R1, int64(t.First), asm.DWord),
		asm.Add.Reg(source, asm.R1),
	)
	if t.IPv6 {
		steps = append(steps, mix6(t.Spread)...)
	} else {
		steps = append(steps, mix4(t.Spread)...)
		steps = append(steps, correct(template, checksumAt)...)
		if t.Checksum {
			steps = append(steps, correct(template, tcpChecksumAt)...)
		}
		steps = append(steps,
			asm.HostTo(asm.BE, source, asm.Word),
			asm.StoreMem(frame, source4At, source, asm.Word),
		)
	}
	steps = append(steps,
		asm.Mov.Imm(asm.R1, int32(l.worldEnd)),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirect.Call(),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol(noRoom), // XDP_ABORTED
		asm.Return(),
	)
	if p != nil && p.interval > 0 {
		steps = append(steps, asm.Mov.Imm(asm.R0, 1).WithSymbol(early), asm.Return()) // XDP_DROP
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "generator", Type: ebpf.XDP, License: "GPL", Instructions: steps})
	if err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	return program, nil
}

// spread replaces the lowest bits of the register by random ones.
func spread(bits int) asm.Instructions {
	if bits == 0 {
		return nil
	}
	return asm.Instructions{
		asm.RSh.Imm(source, int32(bits)),
		asm.LSh.Imm(source, int32(bits)),
		asm.Mov.Reg(asm.R1, random),
		asm.And.Imm(asm.R1, 1<<bits-1),
		asm.Or.Reg(source, asm.R1),
	}
}

// shifted is source ^= source >> by.
func shifted(by int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, source),
		asm.RSh.Imm(asm.R1, by),
		asm.Xor.Reg(source, asm.R1),
	}
}

// times is source *= factor.
func times(factor uint64) asm.Instructions {
	return asm.Instructions{
		asm.LoadImm(asm.R1, int64(factor), asm.DWord),
		asm.Mul.Reg(source, asm.R1),
	}
}

// mix4 is Source4.
func mix4(loose int) (steps asm.Instructions) {
	steps = append(steps, times(odd4a)...)
	steps = append(steps, asm.And.Imm(source, mask4))
	steps = append(steps, shifted(shift4)...)
	steps = append(steps, times(odd4b)...)
	steps = append(steps, asm.And.Imm(source, mask4))
	steps = append(steps, spread(loose)...)
	return append(steps, asm.Or.Imm(source, net4))
}

// correct writes a checksum that covers the source, from that of the template,
// whose source is zero (RFC 1624).
func correct(template []byte, at int16) asm.Instructions {
	checksum := binary.BigEndian.Uint16(template[at:])
	steps := asm.Instructions{
		asm.Mov.Reg(asm.R1, source),
		asm.RSh.Imm(asm.R1, 16),
		asm.Mov.Reg(asm.R2, source),
		asm.And.Imm(asm.R2, 0xffff),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.Add.Imm(asm.R1, int32(^checksum)),
	}
	for range 2 { // fold
		steps = append(steps,
			asm.Mov.Reg(asm.R2, asm.R1),
			asm.RSh.Imm(asm.R2, 16),
			asm.And.Imm(asm.R1, 0xffff),
			asm.Add.Reg(asm.R1, asm.R2),
		)
	}
	return append(steps,
		asm.Xor.Imm(asm.R1, 0xffff),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.StoreMem(frame, at, asm.R1, asm.Half),
	)
}

// mix6 is Source6, and any address in its /64.
func mix6(loose int) (steps asm.Instructions) {
	steps = append(steps, times(odd6)...)
	steps = append(steps,
		asm.LoadImm(asm.R1, mask6, asm.DWord),
		asm.And.Reg(source, asm.R1),
	)
	steps = append(steps, shifted(shift6)...)
	steps = append(steps, spread(loose)...)
	steps = append(steps,
		asm.LoadImm(asm.R1, net6, asm.DWord),
		asm.Or.Reg(source, asm.R1),
		asm.HostTo(asm.BE, source, asm.DWord),
		asm.StoreMem(frame, source6At, source, asm.DWord),
		asm.Mov.Reg(source, random),
	)
	steps = append(steps, times(odd6)...)
	return append(steps, asm.StoreMem(frame, source6At+8, source, asm.DWord))
}
