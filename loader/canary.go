package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
)

// A canary is a packet that is given to the program in force as if it had
// come from the network (BPF_PROG_TEST_RUN), to see whether that still does
// what it should: with these maps, these ports, this table. Canaries come from
// sources that no client can have. Those that must be dropped stand in the
// table for it, beside the decisions and hidden from whoever reads the table.
type canary struct {
	source  netip.Prefix
	dropped bool
}

// canarySources are two of each family. 192.0.0.8 is the dummy address of RFC
// 7600, 192.0.0.0 the number of a network (RFC 6890), the others are for
// documentation (RFC 3849). 86dd in the second word is no accident: see frame.
func canarySources() [4]canary {
	return [4]canary{
		{prefixOfSource4(canary4(8)), true},
		{prefixOfSource4(canary4(0)), false},
		{prefixOfSource6(canary6(0)), true},
		{prefixOfSource6(canary6(1)), false},
	}
}

func canary4(last byte) datapathSource4 {
	return datapathSource4{Addr: [4]byte{192, 0, 0, last}}
}

func canary6(last byte) datapathSource6 {
	return datapathSource6{Net: [8]byte{0x20, 0x01, 0x0d, 0xb8, 0x86, 0xdd, 0, last}}
}

// Reserved reports whether a prefix is a source that the loader keeps for
// itself. What is put there is not taken, and nothing is said of it.
func Reserved(p netip.Prefix) bool {
	switch tableOf(p) {
	case sources4:
		k := keyOfSource4(p)
		return k == canary4(8) || k == canary4(0)
	case sources6:
		k := keyOfSource6(p)
		return k == canary6(0) || k == canary6(1)
	}
	return false
}

// Put writes entries, as tables do. Those of reserved sources are left out.
func (d *Datapath) Put(entries ...Entry) error {
	return d.tables.put(entries, Reserved)
}

// Delete removes what stands for exactly these prefixes, as tables do.
func (d *Datapath) Delete(prefixes ...netip.Prefix) error {
	if slices.ContainsFunc(prefixes, Reserved) {
		prefixes = slices.DeleteFunc(slices.Clone(prefixes), Reserved)
	}
	return d.tables.Delete(prefixes...)
}

// Entries yields all entries, as tables do, those of reserved sources left out.
func (d *Datapath) Entries() iter.Seq2[Entry, error] { return unreserved(d.tables.Entries()) }

// Compare looks up what stands for entries, as tables do. The rest is without
// reserved sources.
func (d *Datapath) Compare(pieces iter.Seq[[]Entry], answer func([]Entry)) (rest iter.Seq2[Entry, error], err error) {
	rest, err = d.tables.Compare(pieces, answer)
	return unreserved(rest), err
}

// unreserved leaves reserved sources out.
func unreserved(entries iter.Seq2[Entry, error]) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for e, err := range entries {
			if err == nil && Reserved(e.Prefix) {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// Fill returns how full the tables are, as they tell it, canaries left out.
func (d *Datapath) Fill() ([]Fill, error) {
	fills, err := d.tables.Fill()
	if err != nil {
		return nil, err
	}
	for _, c := range canarySources() {
		_, planted, err := d.tables.Get(c.source)
		if err != nil {
			return nil, err
		}
		if planted {
			fills[tableOf(c.source)].Used--
		}
	}
	return fills, nil
}

// plantCanaries puts those that are dropped into the table, and takes away
// what stands for the others. A table that is full has no room for them.
func (d *Datapath) plantCanaries() error {
	for _, c := range canarySources() {
		var err error
		if c.dropped {
			err = d.tables.Put(Entry{Prefix: c.source, Action: ActionDrop})
		} else {
			err = d.tables.Delete(c.source)
		}
		if err != nil && !errors.Is(err, ErrFull) {
			return fmt.Errorf("plant canaries: %w", err)
		}
	}
	return nil
}

// flyCanaries gives the programs that are attached a canary of each kind and
// returns what came out wrong, "" if nothing did.
func (d *Datapath) flyCanaries(programs []*ebpf.Program) (string, error) {
	d.canaries.Lock()
	defer d.canaries.Unlock()
	if len(d.ports) == 0 {
		return "", nil // nothing is dropped
	}
	for _, c := range canarySources() {
		if _, planted, err := d.tables.Get(c.source); err != nil {
			return "", err
		} else if c.dropped && !planted && d.isFull(c.source) {
			continue
		}
		for _, p := range programs {
			if p == d.objects.WeirTcBare && c.source.Addr().Is4() {
				continue
			}
			wrong, err := d.fly(p, c)
			if wrong != "" || err != nil {
				return wrong, err
			}
		}
	}
	return "", nil
}

// isFull tells why a canary may be missing.
func (d *Datapath) isFull(source netip.Prefix) bool {
	fills, err := d.tables.Fill()
	if err != nil {
		return true
	}
	f := fills[tableOf(source)]
	return f.Used >= f.Capacity
}

// fly gives a program one canary, and takes it out of the counters again.
func (d *Datapath) fly(p *ebpf.Program, c canary) (wrong string, err error) {
	frame := c.frame(d.ports[0], p == d.objects.WeirTcBare)
	answer, err := p.Run(&ebpf.RunOptions{Data: frame})
	if err != nil {
		return "", fmt.Errorf("run the program in force: %w", explain(err))
	}
	drops, exit := p.Type() == ebpf.XDP && answer == xdpActionDrop || p.Type() == ebpf.SchedCLS && answer == tcActionShot, uint32(datapathExitReasonEXIT_UNFLAGGED)
	switch {
	case drops && !c.dropped:
		return fmt.Sprintf("a packet of %s was dropped, which nothing stands against", c.source), nil
	case !drops && c.dropped:
		return fmt.Sprintf("a packet of %s passed, which is to be dropped", c.source), nil
	case drops:
		exit = uint32(datapathExitReasonEXIT_DROPPED)
	}
	var own datapathCounter
	if err := d.objects.Canaries.Lookup(exit, &own); err != nil {
		return "", fmt.Errorf("count canary: %w", err)
	}
	own.Packets++
	own.Bytes += uint64(len(frame))
	if err := d.objects.Canaries.Put(exit, &own); err != nil {
		return "", fmt.Errorf("count canary: %w", err)
	}
	return "", nil
}

// Answers that drop (linux/bpf.h, linux/pkt_cls.h).
const (
	xdpActionDrop = 1
	tcActionShot  = 2
)

// frame is a packet of an established connection, the only kind that wider
// entries do not concern. For the program that reads packets without a link
// layer it has none: the kernel takes the first 14 bytes for one all the same,
// and what it finds for the protocol, where a source of ours has 86dd, is IPv6.
func (c canary) frame(port uint16, bare bool) []byte {
	const ack = 0x10
	tcp := make([]byte, 20)
	binary.BigEndian.PutUint16(tcp, 1024)
	binary.BigEndian.PutUint16(tcp[2:], port)
	tcp[12], tcp[13] = 5<<4, ack

	frame := make([]byte, 12, 14+40+len(tcp))
	if bare {
		frame = frame[:0]
	}
	if c.source.Addr().Is4() {
		ip := make([]byte, 20)
		ip[0], ip[9] = 4<<4|5, 6
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(tcp)))
		copy(ip[12:], c.source.Addr().AsSlice())
		frame = binary.BigEndian.AppendUint16(frame, 0x0800)
		return append(append(frame, ip...), tcp...)
	}
	ip := make([]byte, 40)
	ip[0], ip[6] = 6<<4, 6
	binary.BigEndian.PutUint16(ip[4:], uint16(len(tcp)))
	copy(ip[8:], c.source.Addr().AsSlice())
	if !bare {
		frame = binary.BigEndian.AppendUint16(frame, 0x86dd)
	}
	return append(append(frame, ip...), tcp...)
}
